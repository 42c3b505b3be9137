{{- define "pdmesh.labels" -}}
app.kubernetes.io/name: pdmesh
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "pdmesh.name" -}}
{{ printf "%s-%s" .root.Release.Name .component | trunc 50 | trimSuffix "-" }}
{{- end -}}

{{- define "pdmesh.redis" -}}
{{- .Values.redis.url | default (printf "redis://%s:6379/0" (include "pdmesh.name" (dict "root" . "component" "redis"))) -}}
{{- end -}}

{{- define "pdmesh.redisFlag" -}}
{{- /* An address with a password is a variable: everybody who may see a pod may see its flags. */ -}}
{{- if not .root.Values.redis.urlSecret -}}
- {{ .flag }}={{ include "pdmesh.redis" .root }}
{{- end -}}
{{- end -}}

{{- define "pdmesh.meshSecret" -}}
{{- .Values.mesh.secret | default (include "pdmesh.name" (dict "root" . "component" "mesh")) -}}
{{- end -}}

{{- define "pdmesh.routing" -}}
{{- /* Where the router is: by itself, or in one process with a gateway. */ -}}
{{- ternary "edge" "router" .Values.edge.enabled -}}
{{- end -}}

{{- define "pdmesh.router" -}}
{{- $router := include "pdmesh.name" (dict "root" .root "component" (include "pdmesh.routing" .root)) -}}
{{ printf "%s-%d.%s.%s.svc:9000" $router .number $router .root.Release.Namespace }}
{{- end -}}

{{- define "pdmesh.routers" -}}
{{- $found := list -}}
{{- range $number := until (int .Values.router.replicas) -}}
{{- $found = append $found (include "pdmesh.router" (dict "root" $ "number" $number)) -}}
{{- end -}}
{{- join "," $found -}}
{{- end -}}

{{- define "pdmesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "pdmesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "pdmesh.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: HOME
  value: /tmp
{{- if not .root.Values.mesh.open }}
- name: PDMESH_{{ .component | upper }}_MESH_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "pdmesh.meshSecret" .root }}, key: secret}}
{{- end }}
{{- if .root.Values.redis.urlSecret }}
{{- $names := list (printf "%s_REDIS_URL" (upper .component)) }}
{{- if has .component (list "gateway" "router") }}
{{- $names = append $names (printf "%s_STORE" (upper .component)) }}
{{- end }}
{{- if and .root.Values.edge.enabled (eq .component "gateway") }}
{{- $names = append $names "ROUTER_STORE" }}
{{- end }}
{{- range $name := $names }}
- name: PDMESH_{{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $.root.Values.redis.urlSecret }}, key: url}}
{{- end }}
{{- end }}
{{- if .root.Values.model.hubTokenSecret }}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .root.Values.model.hubTokenSecret }}, key: token}}
{{- end }}
{{- end -}}

{{- define "pdmesh.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "pdmesh.labels" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "pdmesh.labels" . | nindent 8 }}
{{- end -}}

{{- define "pdmesh.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "pdmesh.name" . }}
  labels: {{- include "pdmesh.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "pdmesh.labels" . | nindent 6 }}
{{- end -}}

{{- define "pdmesh.modelVolume" -}}
- name: model
  {{- if .Values.model.claim }}
  persistentVolumeClaim: {claimName: {{ .Values.model.claim }}, readOnly: true}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end -}}

{{- define "pdmesh.modelPath" -}}
{{- required "model.path is needed: a directory below model.mount, or a name on the Hugging Face hub" .Values.model.path -}}
{{- end -}}
