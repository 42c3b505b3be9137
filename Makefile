# The same few commands for people and for CI. `make` lists them.
# Variables: PYTHON, TORCH_INDEX (see tools/install.sh); ONCE=1 for demo.

BIN := .venv/bin
export PYTHON TORCH_INDEX SEEDS
# The demo model is trained and committed; without it a tiny one with random weights serves.
DEMO_MODEL ?= $(if $(wildcard models/demo/config.json),models/demo,build/tiny-model)
LOCKS := $(wildcard locks/*.txt)
# Freed memory stays mapped, in large pages: training on the CPU is a third faster.
KEEP_MEMORY := GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=68719476736

.DEFAULT_GOAL := help
.PHONY: help validate study setup setup-light demo model up sim check test unit wire attack mesh clients e2e ranks bench bench-profile bench-peers bench-isolation bench-handoff bench-scaling protos docs locks audit sbom digests images clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install everything into .venv
	@tools/install.sh full

setup-light: ## install without vLLM and torch: enough for `make up`, unit, wire and mesh
	@tools/install.sh light

demo: setup $(DEMO_MODEL)/config.json ## start a mesh with real vLLM on the CPU, ask it a question (ONCE=1: and stop)
	@$(BIN)/pdmesh demo --model $(DEMO_MODEL) $(if $(ONCE),--once)

model: setup ## train the demo model anew into models/demo, about an hour on 2 quiet cores
	@$(KEEP_MEMORY) $(BIN)/python -m tools.demo_model.train --out models/demo

up: setup-light build/sim-model/config.json ## start a mesh whose engine is a timing model
	@$(BIN)/pdmesh up --engine sim --model build/sim-model

sim: setup-light ## seeded lives of the router's core (SEEDS=1000000: more; SEED=17: replay one)
	@$(if $(SEED),$(BIN)/python -m tests.sim $(SEED),$(BIN)/pytest tests/sim --timeout 0)

build/tiny-model/config.json: | setup
	@$(BIN)/python -m tools.tiny_model build/tiny-model

build/sim-model/config.json: | setup-light
	@$(BIN)/python -m tools.tiny_model build/sim-model --no-weights

check: setup ## style, types, protos, stubs, reference pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	$(BIN)/python -m tools.stubs --check
	$(BIN)/python -m tools.docs --check
	$(BIN)/python -m tools.dashboards --check

test: check ## everything that CI runs
	$(BIN)/pytest -n 2 tests/tidy tests/unit tests/wire tests/attack tests/deploy tests/sim
	$(BIN)/pytest tests/mesh
	$(BIN)/pytest tests/e2e

unit: setup-light ## tests of parts
	$(BIN)/pytest -n 2 tests/tidy tests/unit tests/deploy tests/sim

wire: setup-light ## tests of services over real gRPC and HTTP
	$(BIN)/pytest tests/wire

attack: setup-light ## what one caller tries against another, with innocent traffic beside it
	$(BIN)/pytest tests/attack

mesh: setup-light ## tests of whole meshes of processes, with the sim engine
	$(BIN)/pytest tests/mesh

clients: setup ## Claude Code and Codex from npm, unchanged, in scripted conversations (docs/clients.md)
	$(BIN)/pytest tests/clients

e2e: setup ## tests of whole meshes with real vLLM
	$(BIN)/pytest tests/e2e

ranks: setup ## tests of real vLLM with two ranks on both sides, about two minutes; not part of `make test`
	$(BIN)/pytest tests/ranks

bench: setup-light ## CPU cost and added time of gateway and router, into tests/bench/results
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m tests.bench

bench-profile: setup-light ## flame graphs of gateway, router and edge under load, into tests/bench/profiles
	$(BIN)/pip install --quiet -e '.[bench]'
	PATH=$(BIN):$$PATH $(BIN)/python -m tests.bench.profile

bench-peers: setup-light ## the same load through other gateways and routers, each installed under build/peers
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m tests.bench.peers

bench-isolation: setup ## prefill apart from decode against beside it, real vLLM, into tests/bench/results
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m tests.bench.isolation

bench-handoff: setup ## what handing KV over costs, real vLLM, into tests/bench/results
	$(BIN)/python -m tests.bench.handoff

bench-scaling: setup-light ## a 4x burst with and without autoscaling, and a trace, into tests/bench/results
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m tests.bench.scaling

validate: setup-light ## predictions beside published measurements, into docs/validation.md (POINTS=file.csv: print those)
	$(BIN)/python -m tests.bench.planner validate $(POINTS)

study: setup-light ## what a 70B takes, into docs/study-70b.md, a quarter of an hour on 2 cores
	$(BIN)/python -m tests.bench.planner study

protos: setup ## generate the stubs in pdmesh/ from protos/
	$(BIN)/python -m tools.stubs

docs: setup-light ## generate the reference pages in docs/ and the dashboards in deploy/grafana/
	$(BIN)/python -m tools.docs
	$(BIN)/python -m tools.dashboards

SUPPLY := build/supply/bin
$(SUPPLY)/uv: ; python3 -m venv build/supply && $(SUPPLY)/pip install --quiet 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3' 'uv>=0.9'

locks: $(SUPPLY)/uv ## resolve locks/ anew: versions and hashes for images and CI (KEEP=1: change only what must)
	@$(SUPPLY)/python -m tools.locks $(if $(KEEP),--keep)

audit: $(SUPPLY)/uv ## ask for known vulnerabilities of everything in locks/; needs the network
	@$(foreach lock,$(LOCKS),echo $(lock) && $(SUPPLY)/pip-audit --strict --require-hashes --disable-pip -r $(lock) &&) true

sbom: $(SUPPLY)/uv ## write a CycloneDX bill of materials of each file in locks/ into build/sbom
	@mkdir -p build/sbom
	@$(foreach lock,$(LOCKS),$(SUPPLY)/cyclonedx-py requirements $(lock) --pyproject pyproject.toml --of JSON -o build/sbom/$(notdir $(lock:.txt=.json)) &&) true

digests: ## write the digests of base images into deploy/images.env; needs docker and its registry
	@tools/digests.sh

images: ## build the images `light` and `cpu` from what locks/ and deploy/images.env name; needs docker
	@. deploy/images.env && for target in light cpu; do docker build -f deploy/Dockerfile --target $$target --build-arg PYTHON_IMAGE=$$PYTHON_IMAGE $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) $(if $(TORCH_SHA256),--build-arg TORCH_SHA256=$(TORCH_SHA256)) -t pdmesh:$$target . || exit 1; done

clean: ## remove what the commands above have made, .venv included
	rm -rf .venv build .run *.egg-info
