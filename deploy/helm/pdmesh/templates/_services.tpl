{{- /* What a gateway and a router are told and given, as pods of their own and as an edge. */ -}}
{{- define "pdmesh.gatewayArgs" -}}
{{- with .Values.gateway -}}
- --host=0.0.0.0
- --port=8000
- --grpc-port=8001
- --gateway-id=$(POD_NAME)
- --model={{ include "pdmesh.modelPath" $ }}
{{- if $.Values.model.name }}
- --served-model-name={{ $.Values.model.name }}
{{- end }}
{{ include "pdmesh.redisFlag" (dict "root" $ "flag" "--store") }}
{{ include "pdmesh.redisFlag" (dict "root" $ "flag" "--redis-url") }}
- --usage-dir=/usage
{{- if .tenantsSecret }}
- --tenants=/tenants/tenants.toml
{{- end }}
{{- if .tlsSecret }}
- --tls-cert=/tls/tls.crt
- --tls-key=/tls/tls.key
{{- end }}
- --grace-ms={{ mul .graceSeconds 1000 }}
- --log-level={{ .logLevel }}
{{- range .args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "pdmesh.gatewayImage" -}}
{{- /* The parsers are vLLM's and traces need OpenTelemetry: the workers' image has both, the light one neither. */ -}}
{{- $image := .Values.image.light -}}
{{- range .Values.gateway.args -}}
{{- if regexMatch "^--(tool-call-parser|reasoning-parser|trace-otlp-endpoint)(=|$)" . -}}
{{- $image = $.Values.image.worker -}}
{{- end -}}
{{- end -}}
{{- .Values.image.gateway | default $image -}}
{{- end -}}

{{- define "pdmesh.gatewayProbes" -}}
{{- with .Values.gateway -}}
# /ready says that a router is connected and a model is served; /health only that the process answers.
startupProbe:
  httpGet: {path: /health, port: http, scheme: {{ ternary "HTTPS" "HTTP" (ne .tlsSecret "") }}}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /ready, port: http, scheme: {{ ternary "HTTPS" "HTTP" (ne .tlsSecret "") }}}
  periodSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /health, port: http, scheme: {{ ternary "HTTPS" "HTTP" (ne .tlsSecret "") }}}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 6
lifecycle:
  # New connections go on coming until the endpoint is gone everywhere.
  preStop: {exec: {command: [sleep, "10"]}}
{{- end -}}
{{- end -}}

{{- define "pdmesh.gatewayMounts" -}}
{{- with .Values.gateway -}}
- {name: usage, mountPath: /usage}
- {name: model, mountPath: {{ $.Values.model.mount }}, readOnly: {{ ne $.Values.model.claim "" }}}
{{- if .tenantsSecret }}
- {name: tenants, mountPath: /tenants, readOnly: true}
{{- end }}
{{- if .tlsSecret }}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "pdmesh.gatewayVolumes" -}}
{{- with .Values.gateway -}}
- {name: usage, emptyDir: {}}
{{ include "pdmesh.modelVolume" $ }}
{{- if .tenantsSecret }}
- {name: tenants, secret: {secretName: {{ .tenantsSecret }}}}
{{- end }}
{{- if .tlsSecret }}
- {name: tls, secret: {secretName: {{ .tlsSecret }}}}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "pdmesh.routerArgs" -}}
{{- with .Values.router -}}
- --host=0.0.0.0
- --port=9000
- --lane-port=9001
- --metrics-port=9090
- --router-id=$(POD_NAME)
{{ include "pdmesh.redisFlag" (dict "root" $ "flag" "--store") }}
{{ include "pdmesh.redisFlag" (dict "root" $ "flag" "--redis-url") }}
- --quarantine-dir=/quarantine
- --grace-ms={{ mul .graceSeconds 1000 }}
{{- range $tier, $values := dict "prefill" $.Values.prefill "decode" $.Values.decode }}
- --{{ $tier }}-cold-start-ms={{ mul 60 1000 }}
- --{{ $tier }}-spares={{ $values.autoscaling.spares }}
- --{{ $tier }}-target-wait-ms={{ $values.autoscaling.targetWaitMs }}
{{- end }}
{{- range .args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
{{- end -}}
