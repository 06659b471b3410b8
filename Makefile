# vafw: `make help` is the index of commands. Works from any current directory (make -C DIR ...).
SHELL := /bin/bash
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
cd = cd "$(ROOT)" &&
bin = "$(ROOT).venv/bin/"
resolve = $(bin)uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header
.DEFAULT_GOAL := help
.PHONY: help up check test lint types layers unit tools qemu tpm format images measure captures differential range bench lock clean venv venv-test differential-long fuzz
FUZZ_SECONDS ?= 60

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' "$(ROOT)Makefile" | sed -E 's/:.*## /\t/' | expand -t 12

up: venv ## bring policies/office-laptop up on the model platform and feed it the shipped capture
	$(cd) $(bin)vafw up policies/office-laptop/topology.yaml --pcap policies/office-laptop/captures/office.pcap --until-idle

check: venv ## check every shipped topology
	$(cd) for each in policies/*/topology.yaml; do $(bin)vafw check "$$each" || exit; done

test: venv-test tools tpm lint types layers unit ## everything that CI runs: ruff, mypy --strict, import-linter, pytest

lint: venv-test ## ruff: style and formatting
	$(cd) $(bin)ruff check . && $(bin)ruff format --check .

types: venv-test ## mypy --strict
	$(cd) $(bin)mypy

layers: venv-test ## import-linter: imports only point down
	$(cd) PYTHONPATH=.:appliances:tui $(bin)lint-imports

unit: venv-test ## pytest
	$(cd) $(bin)pytest -q

tools: ## system packages whose programs the tests use as oracles (only as root, only where missing)
	@"$(ROOT)scripts/qemu-tools"
	@"$(ROOT)scripts/test-tools"

qemu: venv ## what `vafw up --platform qemu` needs: Debian packages (as root), tpm2-pytss, guest images
	@"$(ROOT)scripts/qemu-tools"
	@"$(ROOT)scripts/tpm"
	$(cd) images/build

tpm: venv-test tools
	@"$(ROOT)scripts/tpm"

format: venv-test ## let ruff mend what it can
	$(cd) $(bin)ruff check --fix . ; $(bin)ruff format .

images: venv ## build the guest images of the QEMU platform from Debian packages
	$(cd) PATH=$(bin):$$PATH images/build

measure: venv ## write the reference values of every shipped topology anew
	$(cd) for each in policies/*/topology.yaml; do $(bin)vafw measure "$$each" --write || exit; done

captures: venv-test ## make the shipped captures of real traffic anew (root, network namespaces)
	$(cd) $(bin)python -m tests.captures.make_captures

differential: venv-test ## hundreds of random policies through the kernel and the engine (root); POLICIES=300
	$(cd) VAFW_DIFFERENTIAL_POLICIES=$(or $(POLICIES),300) $(bin)pytest -q -s tests/traffic/test_differential.py

differential-long: venv-test tools ## 1,000 quotes through our appraisal and tpm2_checkquote
	$(cd) VAFW_QUOTES=1000 $(bin)pytest -q tests/attest/test_checkquote.py

fuzz: venv-test ## coverage-guided fuzzing of quotes, logs and results with atheris, in an environment of its own
	$(cd) scripts/fuzz $(FUZZ_SECONDS)

range: venv-test ## attacks without hundreds of sets of mechanisms, hundreds of random TPM lives; SETS=300
	$(cd) VAFW_ATTACK_SETS=$(or $(SETS),300) VAFW_TPM_LIVES=$(or $(SETS),300) \
	  $(bin)pytest -q tests/attack/test_matrix.py tests/hw/tpm/test_differential.py

bench: venv-test ## benchmarks, printed as figures and ratios
	$(cd) for each in benchmarks/*.py; do $(bin)python "$$each" || exit; done

lock: venv-test ## resolve the dependencies anew, with hashes
	$(cd) $(bin)pip install --quiet uv
	$(cd) $(resolve) pyproject.toml -o requirements.lock
	$(cd) $(resolve) pyproject.toml --group test -o requirements-test.lock
	$(cd) $(resolve) pyproject.toml --extra tpm -o requirements-tpm.lock
	$(cd) $(resolve) --group pyproject.toml:build -o requirements-build.lock

clean: ## remove the virtual environment and every cache
	$(cd) rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

venv:
	@"$(ROOT)scripts/venv" requirements.lock

venv-test:
	@"$(ROOT)scripts/venv" requirements-test.lock
