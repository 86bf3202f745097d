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

# A target with packages differs from slim in what is in it, not in how it behaves.
.PHONY: image-test
image-test: image
	PYACTION_IMAGE=$(IMAGE) DOCKER=$(DOCKER) $(PYTEST) test/image$(if $(filter-out slim,$(TARGET)),/test_contents.py)
	$(if $(filter slim,$(TARGET)),DOCKER=$(DOCKER) test/image/blackbox $(IMAGE))

# All that can be made: three Pythons, each with the packages that there are for it.
SUITES ?= bullseye bookworm trixie
.PHONY: image-test-all
image-test-all:
	for suite in $(SUITES); do for target in slim lambda scf; do \
		$(MAKE) image-test DEBIAN=$$suite TARGET=$$target || exit; done; done
	$(MAKE) image-test TARGET=digitalocean

.PHONY: fresh-test
fresh-test:
	DOCKER=$(DOCKER) test/image/fresh $(SUITES)

.PHONY: dist
dist:
	DOCKER=$(DOCKER) scripts/make-dist $(VERSION) $(BUILD)/dist
