# Sets the testbed up on a Debian or Ubuntu machine, shows it, and checks it. `make` alone lists the targets.
#
# TORCH_INDEX  the URL of the index where pip finds torch: PyTorch's own for CPU builds makes it far smaller
# PYTHON       the Python to use, if not the newest of 3.11 to 3.13 that is found

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint

export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PYTHON ?=
TORCH_INDEX ?=
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
INSTALLED := .venv/installed

# each program that is needed, and the Debian package that has it
PROGRAMS := mnexec:mininet tc:iproute2 ethtool:ethtool brctl:bridge-utils ifconfig:net-tools \
  ping:iputils-ping iperf3:iperf3 gcc:gcc

PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11)
FIND_PYTHON := for python in $(PYTHONS); do \
  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then echo "$$python"; break; fi; done

help: ## this list
	@grep -hE '^[a-z]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

setup: $(INSTALLED) ## everything that the testbed needs: Debian packages, .venv, the package itself

demo: $(INSTALLED) ## the poor-channel workload over the star: local, full, fixed and greedy side by side
	@$(AS_ROOT) .venv/bin/testbed run workloads/poor_channel.yaml --topology topologies/star.yaml

test: $(INSTALLED) ## all tests (those marked netem where the kernel has it), as root: in one process what measures links, the rest in two beside it
	@$(AS_ROOT) true
	said=$$(mktemp -d)
	trap 'rm -rf "$$said"' EXIT
	# what a shell begins beside itself ignores interruptions, and so would the commands under test
	tests() { $(AS_ROOT) env --default-signal=INT,QUIT nice -n "$$1" .venv/bin/python -m pytest \
	  -o cache_dir=".pytest_cache/$$2" -m "$$3" "$${@:4}"; }
	links() { tests 0 links 'root and not lab' "$$@"; }
	lab() { tests 10 lab lab "$$@"; }
	rest() { tests 15 rest 'not root' "$$@"; }
	declare -A running status=([links]=0 [lab]=0 [rest]=0)
	for part in lab rest; do
	  $$part >"$$said/$$part" 2>&1 & running[$$part]=$$!
	done
	links || status[links]=$$?
	for part in lab rest; do
	  wait $${running[$$part]} || status[$$part]=$$?
	  cat "$$said/$$part"
	done
	# what failed while the parts kept each other waiting has one more try, alone
	for part in links lab rest; do
	  if [[ $${status[$$part]} == 1 ]]; then
	    status[$$part]=0
	    $$part --last-failed || status[$$part]=$$?
	  fi
	done
	for part in links lab rest; do ((status[$$part] == 0)) || exit $${status[$$part]}; done

lint: $(INSTALLED) ## style, types and layering
	@.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

system:
	@missing=()
	for pair in $(PROGRAMS); do
		command -v "$${pair%:*}" >/dev/null || missing+=("$${pair#*:}")
	done
	[[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)
	[[ -n $$($(FIND_PYTHON)) ]] || missing+=(python3-venv)
	(($${#missing[@]})) || exit 0
	if ! command -v apt-get >/dev/null; then
		echo "make: this machine has no apt-get: install what Debian has as $${missing[*]}, then run make again" >&2
		exit 1
	fi
	echo "make: installing the Debian packages $${missing[*]}"
	apt_get() { $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get -qq "$$@" </dev/null; }
	apt_get update
	apt_get install --yes --no-install-recommends "$${missing[@]}" >/dev/null

$(INSTALLED): pyproject.toml setup.py $(wildcard testbed/network/native/*.[ch]) | system
	@python=$$($(FIND_PYTHON))
	if [[ -z $$python ]]; then
		echo "make: none of $(PYTHONS) runs here and has venv: install one with its venv package" \
			"(say, python3.11 and python3.11-venv), or name one, as in make PYTHON=/opt/bin/python3.12" >&2
		exit 1
	fi
	[[ -x .venv/bin/python ]] || "$$python" -m venv .venv
	echo "make: installing the package into .venv with $$(.venv/bin/python --version): some minutes, and 2 GB or more"
	pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$$@"; }
	torch=$$(sed -nE 's/^ *"(torch==[^"]+)".*/\1/p' pyproject.toml)
	$(if $(TORCH_INDEX),pip install --index-url '$(TORCH_INDEX)' "$$torch")
	pip install --editable '.[dev]'
	touch $@
