# Rules of the container image: included by the Makefile.

DOCKER ?= docker
# The Debian release decides on the Python: bullseye has 3.9, bookworm 3.11, trixie 3.13.
DEBIAN ?= bookworm
# slim, digitalocean, lambda, scf: a target of the Dockerfile.
TARGET ?= slim
IMAGE ?= pyaction$(if $(filter-out slim,$(TARGET)),-$(TARGET))$(if $(filter-out bookworm,$(DEBIAN)),:$(DEBIAN))
IMAGE_REVISION := $(shell git rev-parse HEAD 2>/dev/null)
# Where a proxy inspects TLS, PIP_CERT says which certificates to trust; pip in the build gets them, too.
IMAGE_FLAGS ?= $(if $(PIP_CERT),--secret 'id=ca-certificates$(comma)src=$(PIP_CERT)')
comma := ,

.PHONY: image
image:
	$(DOCKER) build --tag $(IMAGE) --target $(TARGET) --build-arg DEBIAN=$(DEBIAN) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(IMAGE_REVISION) $(IMAGE_FLAGS) .

.PHONY: image-test
image-test: image
	PYACTION_IMAGE=$(IMAGE) DOCKER=$(DOCKER) $(PYTEST) test/image
	DOCKER=$(DOCKER) test/image/blackbox $(IMAGE)

# All that is released: three Pythons, and the targets with packages.
.PHONY: image-test-all
image-test-all:
	for suite in bullseye bookworm trixie; do $(MAKE) image-test DEBIAN=$$suite || exit; done
	for target in lambda scf digitalocean; do $(MAKE) image TARGET=$$target && \
		PYACTION_IMAGE=pyaction-$$target $(PYTEST) test/image/test_contents.py || exit; done

SUITES ?= bullseye bookworm trixie
.PHONY: fresh-test
fresh-test:
	DOCKER=$(DOCKER) test/image/fresh $(SUITES)

.PHONY: dist
dist:
	DOCKER=$(DOCKER) scripts/make-dist $(VERSION) $(BUILD)/dist
