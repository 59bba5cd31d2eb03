# sources.mk - which folders the programs are made of: a new file in a folder needs no line here. A Makefile says
# where this folder is (SRC), and names what it builds by paths from here: dcgan/net/network.c.
SRC ?= src
sources = $(sort $(patsubst $(SRC)/%,%,$(wildcard $(patsubst %,$(SRC)/%/*.c,$(1)))))

# The mathematics, in floats; with -DDCGAN_DOUBLE in doubles.
DCGAN_SOURCES = $(filter-out $(GPU_SOURCES),$(call sources,dcgan dcgan/*))
# The same on a GPU, in floats: only for programs that students run, never for the extension.
GPU_SOURCES = $(call sources,dcgan/gpu)
GPU_LIBS = -ldl -pthread
# What travels, checkpoints, and sheets of images.
WIRE_SOURCES = $(call sources,formats/wire)
SAFETENSORS_SOURCES = $(call sources,formats/safetensors)
SHEET_SOURCES = $(call sources,formats/sheet)
# What generated images are measured by.
QUALITY_SOURCES = $(call sources,quality)
# Images, wherever they are.
DATASET_SOURCES = $(call sources,dataset)
# What worker and dashboard share.
COMMON_SOURCES = $(call sources,common)

# These are optimised for the vectoriser. The two -fno flags are what it needs of -ffast-math and change no result; contraction into
# fused multiply-add would change results from machine to machine, so it is off.
DCGAN_CFLAGS = -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off
VECTORISED_SOURCES = $(DCGAN_SOURCES) $(WIRE_SOURCES) $(QUALITY_SOURCES)

# What a program with GPU_SOURCES needs beside them: $(eval $(call gpu_rules,FOLDER,OBJECTS)), where OBJECTS is the folder of the objects
# of src/dcgan. Turns the kernels (dcgan/gpu/*.cl) into C strings in FOLDER, which text.c includes, and has device.c offer the GPU.
define gpu_rules
$(1)/%.cl.inc: $(SRC)/dcgan/gpu/%.cl $(SRC)/sources.mk
	@mkdir -p $$(@D)
	sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&\\n"/' $$< > $$@.new
	@mv $$@.new $$@
$(2)/gpu/text.o: $(patsubst $(SRC)/dcgan/gpu/%,$(1)/%.inc,$(wildcard $(SRC)/dcgan/gpu/*.cl))
$(2)/gpu/text.o: CPPFLAGS += -I$(1)
$(2)/device.o: CPPFLAGS += -DDCGAN_GPU
endef

# BLAS=openblas or own: what multiplies the matrices at the ends of the networks. Where OpenBLAS isn't installed, it is own.
PKG_CONFIG ?= pkg-config
BLAS ?= $(if $(shell $(PKG_CONFIG) --exists openblas 2>/dev/null && echo yes),openblas,own)
ifeq ($(BLAS),openblas)
BLAS_CFLAGS = -DGANN_OPENBLAS $(shell $(PKG_CONFIG) --cflags-only-I openblas 2>/dev/null)
BLAS_LIBS = -lopenblas
else ifneq ($(BLAS),own)
$(error BLAS is openblas or own, not "$(BLAS)")
endif
# $(eval $(call with_blas,OBJECT)), where OBJECT is that of dcgan/cpu/gemm.c, the only file that depends on the choice: it is made again
# when the choice has changed.
define with_blas
$(1): override CFLAGS += $$(BLAS_CFLAGS)
$(1): $(1:.o=.blas)
$(1:.o=.blas): $(if $(filter $(BLAS),$(shell cat $(1:.o=.blas) 2>/dev/null)),,blas_changed)
	@mkdir -p $$(@D)
	echo $$(BLAS) > $$@
.PHONY: blas_changed
endef
