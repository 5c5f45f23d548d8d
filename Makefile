# Each target does all its own set-up in .venv; a second call starts in seconds.
# make demo DATA=folder-or-zip    make up PORT=9000    make bench NAME=select    make test ARGS='-k rounds'
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo up test check bench format

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Winnow needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV), once: PyTorch alone is some gigabytes, so this takes a few minutes"
	@$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[api,ui,trainer,scorer,local,dev]'
	@touch $@

demo: $(INSTALLED)
	$(VENV)/bin/winnow demo $(if $(DATA),--data $(DATA)) $(ARGS)

up: $(INSTALLED)
	$(VENV)/bin/winnow up $(if $(DATA),--data $(DATA)) $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(INSTALLED)
	$(VENV)/bin/python -m tests.servers.prepare
	$(VENV)/bin/python -m pytest $(ARGS)

check: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy shared services winnow benchmarks tests
	$(VENV)/bin/lint-imports

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(INSTALLED)
	$(VENV)/bin/winnow bench $(or $(NAME),list) $(ARGS)
