# SPDX-License-Identifier: Apache-2.0
# The one front door. Each target says what it runs, so that nothing here has to be remembered.
# What needs root says so itself; what is missing on the machine, tests/setup.sh installs.
PRESET ?= release

.PHONY: help build debug unit-tests functional-tests system-tests tests asan tsan ovs-patches \
	demo sandbox bench docs format lint tidy install deb clean
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## both daemons and the unit tests, optimised
	cmake --preset $(PRESET)
	cmake --build --preset $(PRESET)
debug: ## the same, unoptimised
	$(MAKE) build PRESET=dev

tests: ## everything: unit, functional and system tests (root)
	./tests/run.sh
unit-tests: ## the unit tests alone (root, for their namespaces)
	./tests/run.sh --unit
functional-tests: ## real daemons in namespaces (root)
	./tests/run.sh --functional
system-tests: ## real kernels in QEMU guests (root)
	./tests/system/run.sh
asan: ## unit and functional tests with AddressSanitizer and UBSan (root)
	./tests/run.sh --asan
tsan: ## unit and functional tests with ThreadSanitizer (root)
	./tests/run.sh --tsan

demo: ## shows the whole path with a virtual machine (root)
	./tests/demo.sh
sandbox: ## a shell in a running stack (root)
	./tests/sandbox.sh
ovs-patches: ## the patches for Open vSwitch: applied, built, tested (root)
	./tests/ovs-patches/check.sh
bench: ## measures against peers (root)
	./tests/bench/run.sh

docs: ## the generated reference pages and tables
	python3 schema/generate.py docs schema/reference
format: ## clang-format over the whole tree
	git ls-files '*.cpp' '*.hpp' '*.c' '*.h' | xargs clang-format -i
lint: ## clang-format, generated files and shell scripts, without a change to them
	git ls-files '*.cpp' '*.hpp' '*.c' '*.h' | xargs clang-format --dry-run --Werror
	python3 schema/generate.py check schema/reference
	git ls-files '*.sh' .ci/run | xargs -r bash -n
tidy: ## clang-tidy over what differs from main; of all: tests/tidy.sh --all
	./tests/tidy.sh --preset=$(PRESET)

install: build ## into the system, or into DESTDIR
	cmake --install build/$(PRESET)
deb: ## Debian packages, into the folder above
	dpkg-buildpackage -b -us -uc
clean: ## what was built, libopenvswitch included
	rm -rf build
