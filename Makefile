# Everything that a developer or a visitor runs. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

DURATION ?=
# The private broker of demo and tests: `apache` or `stand-in`. Without it Apache Kafka, and the stand-in where that cannot
# be had.
KAFKA ?=
# On a colour terminal the compiler is called with other options, and everything would be built again.
SWIFT_RELEASE := TERM=dumb swift build --configuration release --static-swift-stdlib

# A Ctrl-C in a command's first moments waits until it has its handlers, and then ends it without a traceback.
BEGIN := env --block-signal=INT,TERM,HUP .vigie/venv/bin

# The servers of a test run are started once; vigie_harness.test_run knows the parts and their bounds.
WITH_SERVICES := tools/with-services $(if $(KAFKA),--broker $(KAFKA)) --
TEST_RUN := $(BEGIN)/python -m vigie_harness.test_run

# Beside a build: fetches Kafka if there is none, and makes what quick starts need. What is wrong the demo or test run says.
PREPARE_KAFKA := $(if $(VIGIE_KAFKA)$(filter stand-in,$(KAFKA)),,.vigie/venv/bin/vigie-kafka prepare >.vigie/kafka-prepare.log 2>&1 &)

# The same for the Spark job: Python packages, most of them PySpark, and its library.
PREPARE_SPARK := spark/environment >.vigie/spark-prepare.log 2>&1 &

.PHONY: help
help: ## This list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | \
		while IFS=$$'\t' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: dependencies
dependencies: ## Fetch what is missing for the tests: Debian packages, Python packages in .vigie/venv
	@tools/install build test

# What is wrong with a broker or a Kafka that somebody names is said before the build.
.PHONY: named-kafka
named-kafka: build-dependencies
	@$(BEGIN)/vigie-kafka check $(if $(KAFKA),--broker $(KAFKA))

# What compiling and the demo need, which is much less.
.PHONY: build-dependencies
build-dependencies:
	@tools/install build

.PHONY: build
build: build-dependencies ## Build the programs in release mode
	$(SWIFT_RELEASE)

# The same without fetching anything, for debian/rules.
.PHONY: programs
programs:
	$(SWIFT_RELEASE)

# Of `make install`, which takes the programs of VIGIE_BIN, by default what `make build` made.
PREFIX ?= /usr/local
DESTDIR ?=
# `yes` installs the dashboard too, with its Python packages: half a gigabyte.
DASHBOARD ?=
PLACE = tools/packages/place --prefix $(PREFIX) $(if $(DESTDIR),--destination $(DESTDIR))

.PHONY: install
install: ## Install the programs, man pages, completions and units below PREFIX=/usr/local; DESTDIR= DASHBOARD=yes
	$(if $(DASHBOARD),tools/packages/dashboard-environment .vigie/packages/dashboard)
	@$(PLACE) $(if $(DASHBOARD),--dashboard .vigie/packages/dashboard)

.PHONY: uninstall
uninstall: ## Take away what `make install` put there; configuration and state are kept
	@$(PLACE) --remove

# The programs of the Debian packages: built ones if VIGIE_BIN names them.
PACKAGED := $(if $(VIGIE_BIN),,build)

.PHONY: deb
deb: $(PACKAGED) ## Build the Debian packages for this distribution into .vigie/packages; VIGIE_BIN=
	@tools/install packages
	@VIGIE_BIN="$${VIGIE_BIN:-.build/release}" tools/packages/build

.PHONY: deb-debian13
deb-debian13: ## Build the Debian packages for Debian 13 in a root of its own
	@tools/install debian13
	tools/debian13/packages amd64

.PHONY: deb-arm64
deb-arm64: deb-debian13 ## Build the Debian packages for Debian 13 on arm64, by cross-building
	tools/debian13/packages arm64

.PHONY: test-packages
test-packages: deb ## Try the packages in a clean root: install, use, upgrade, remove, purge; and `make install`
	tools/packages/test-install
	tools/packages/test "$$(. /etc/os-release && echo "$$VERSION_CODENAME")" .vigie/packages/"$$(. /etc/os-release && echo "deb$$VERSION_ID")"

.PHONY: test-packages-debian13
test-packages-debian13: deb-debian13 ## The same with Debian 13's packages in a Debian 13
	tools/packages/test trixie .vigie/debian13/state/packages/deb13

.PHONY: test-first-hour
test-first-hour: build-dependencies ## Run the demo as a newcomer on a clean Debian 12 and 13, and say what it costs; as root
	@tools/install packages
	tools/first-hour trixie
	if [[ $$(. /etc/os-release && echo $$VERSION_CODENAME) == bookworm ]]; then tools/first-hour bookworm; fi

DEMO := $(BEGIN)/python demo/demo.py $(if $(DURATION),--duration $(DURATION)) $(if $(KAFKA),--kafka $(KAFKA))

.PHONY: demo
demo: build-dependencies ## Run it all with simulated boards and watch it live; DURATION=30 ends by itself; KAFKA=stand-in
	@$(DEMO) --check
	@$(PREPARE_KAFKA) $(SWIFT_RELEASE) || { echo "vigie: the build failed." >&2; exit 1; }; wait
	@$(DEMO)

.PHONY: demo-spark
demo-spark: build-dependencies ## The same demo with the Spark job in the processor's place; DURATION=60
	@$(DEMO) --engine spark --check
	@$(PREPARE_KAFKA) $(PREPARE_SPARK) $(SWIFT_RELEASE) || { echo "vigie: the build failed." >&2; exit 1; }; wait
	@spark/environment
	@$(DEMO) --engine spark

.PHONY: clean-demo
clean-demo: ## Remove the demo's data
	@python3 demo/clean.py

.PHONY: clean
clean: clean-demo ## Remove all that was fetched, built and kept in this checkout
	rm -rf .build .vigie

.PHONY: lint
lint: build-dependencies ## Check the format of the Swift files, and the Python files
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks/OutboxBenchmark
	.vigie/venv/bin/ruff check --quiet

.PHONY: test
test: dependencies named-kafka lint programs-for-tests ## Run all tests on Apache Kafka and PostgreSQL; KAFKA=stand-in: without Kafka
	@tools/promtool fetch || true
	@tools/compose2 fetch || true
	$(WITH_SERVICES) $(TEST_RUN)

.PHONY: programs-for-tests
programs-for-tests: dependencies
	$(PREPARE_KAFKA) $(PREPARE_SPARK) swift build --build-tests -Xswiftc -warnings-as-errors && wait
	$(SWIFT_RELEASE) --product vigie-gateway
	$(SWIFT_RELEASE) --product vigie-simbus

.PHONY: test-dashboard
test-dashboard: dependencies ## Run the dashboard's tests: its logic, and in a real browser on a running pipeline
	swift build --build-tests -Xswiftc -warnings-as-errors
	$(WITH_SERVICES) $(TEST_RUN) dashboard browser

.PHONY: test-spark
test-spark: dependencies ## Run all of the Spark job's tests on Apache Kafka, PostgreSQL and real Spark; VIGIE_SPARK_JARS=folder
	spark/environment
	for program in gateway processor fleet; do swift build --product "vigie-$$program" || exit; done
	tools/with-services --broker apache -- .vigie/spark/venv/bin/python -m pytest -q -rs -p no:cacheprovider spark/tests

.PHONY: test-hardware
test-hardware: dependencies ## Run the release gateway in a virtual machine, on simulated chips of Debian's kernel
	$(SWIFT_RELEASE) --product vigie-gateway
	$(SWIFT_RELEASE) --product vigie-simbus
	$(WITH_SERVICES) $(TEST_RUN) hardware

.PHONY: test-systemd
test-systemd: dependencies $(if $(VIGIE_DEBS),,deb) ## Run the installed packages under systemd in a virtual machine whose power is cut; as root
	@tools/install systemd
	.vigie/venv/bin/python Tests/Guest/systemd_guest.py

# Of `make storm`: the seed of the schedule (drawn without it), how many faults, nodes of Kafka, the most faults of one
# storm, the mean seconds between two, the kinds of faults (`outbox`: those of outboxes' files, `log`: those of the topic's
# messages) if not all, and whether faults of data are planted afterwards.
SEED ?=
FAULTS ?= 60
NODES ?= 1
EACH ?= 250
EVERY ?= 1
ONLY ?=
PROVE ?=

.PHONY: storm
storm: build ## Run it all under seeded faults and check every reading: SEED=n FAULTS=n NODES=1|3 ONLY=outbox PROVE=1
	VIGIE_BIN="$${VIGIE_BIN:-.build/release}" $(BEGIN)/vigie-storm $(if $(SEED),--seed $(SEED)) \
		--faults $(FAULTS) --nodes $(NODES) --each $(EACH) --every $(EVERY) $(if $(ONLY),--only "$(ONLY)") $(if $(PROVE),--prove)

# Of `make fleets`: `small` as in `make test`, or `large`; the fleets if not all.
SIZE ?= small
FLEETS ?=

.PHONY: fleets
fleets: build ## Send 30 hostile fleets and account for every message: SIZE=small|large FLEETS=name,... SEED=n
	VIGIE_BIN="$${VIGIE_BIN:-.build/release}" $(WITH_SERVICES) .vigie/venv/bin/python -m vigie_harness.fleets \
		--size $(SIZE) $(if $(FLEETS),--only $(FLEETS)) $(if $(SEED),--seed $(SEED))

.PHONY: test-containers
test-containers: build-dependencies ## Bring compose.yaml up for real, on stand-ins of its images; PROGRAMS=folder COMPOSE=2; as root
	@tools/install containers
	@$(if $(filter 2,$(COMPOSE)),tools/compose2 fetch)
	@$(BEGIN)/python -m vigie_harness.containers $(if $(PROGRAMS),--programs $(PROGRAMS)) \
		$(if $(filter 2,$(COMPOSE)),--compose tools/compose2)

# The storm of `make test` alone.
.PHONY: storm-test
storm-test: dependencies
	swift build --build-tests -Xswiftc -warnings-as-errors
	$(TEST_RUN) storm

# Some minutes: CUTS in all, on one seed that is printed.
CUTS ?= 100000

.PHONY: test-power-cuts
test-power-cuts: build-dependencies ## Cut the power of the outbox's storage at any operation, 100,000 times; CUTS=n
	swift build --build-tests -Xswiftc -warnings-as-errors
	VIGIE_POWER_CUTS=$(CUTS) swift test --skip-build --filter PowerCutTests

.PHONY: test-debian13
test-debian13: ## Build and test with Debian 13's Swift 6.0, libraries and Java, in a root of its own
	@tools/install debian13
	tools/debian13/test

.PHONY: test-arm64
test-arm64: ## Build the gateway for arm64 and run it on an emulated board with Debian 13's kernel
	@tools/install debian13
	tools/debian13/test-arm64

.PHONY: sbom
sbom: build ## Write a CycloneDX bill of materials of each package into .build/sbom
	.vigie/venv/bin/python tools/sbom

.PHONY: benchmark
benchmark: build ## Measure the processor's throughput beside a plain COPY
	Benchmarks/throughput

# For `Benchmarks/throughput --broker tansu` only.
.PHONY: benchmark-packages
benchmark-packages: build-dependencies
	.vigie/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		--requirement Benchmarks/requirements.txt
