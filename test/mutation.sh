#!/bin/bash
# Shows that the unit tests turn red: breaks src/dcgan in one place at a time and expects some test to fail.
#
#   test/mutation.sh [PATTERN]     only mutants whose file or description contains PATTERN
#
# Prints TAP. A mutant is killed if a test fails, crashes or is not done after 60 s; one that doesn't compile is no
# mutant, and neither is one whose text is not in the file exactly once: both are "not ok". The list names the tests
# that are tried first; a mutant is alive only when all tests have passed.
#
# Environment: CC; JOBS, mutants at a time (default: the number of cores); GANN_TEST_SEED.
set -uo pipefail
export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
cc=${CC:-gcc}
jobs=${JOBS:-$(nproc)}
only=${1:-}
cflags=(-std=gnu11 -O1 -fno-math-errno -fno-trapping-math -ffp-contract=off)
libraries=(-lcmocka -lm) # our own products, whatever is installed: these are mutated
tests=(
	random model gemm gemm_double convolutions layers
	training outer winograd winograd_double gradients unit backend
)
export GANN_FIXTURES=$root/test/fixture

work=$(mktemp -d "${TMPDIR:-/tmp}/gann_mutation.XXXXXX")
trap 'rm -rf "$work"' EXIT

# ---- the mutants ------------------------------------------------------------------------------------------

files=() froms=() tos=() firsts=() descriptions=()

# mutant FILE FIRST-TESTS DESCRIPTION FROM TO; FROM must be in FILE exactly once, literally
mutant() {
	case "$1 $3" in *"$only"*) ;; *) return ;; esac
	files+=("$1") firsts+=("$2") descriptions+=("$3") froms+=("$4") tos+=("$5")
}

mutant optimise/adam.c training 'beta1 and beta2 swapped' \
	'.beta1 = (real)options->beta1,
        .beta2 = (real)options->beta2,' '.beta1 = (real)options->beta2,
        .beta2 = (real)options->beta1,'
mutant optimise/adam.c training 'no bias correction of the first moment' \
	'options->learning_rate / (1.0 - pow(options->beta1, (double)t))' 'options->learning_rate'
mutant optimise/adam.c training 'no bias correction of the second moment' \
	'(real)sqrt(1.0 - pow(options->beta2, (double)t))' '1'
mutant optimise/adam.c training 'epsilon inside the bias correction' \
	'((real)sqrt(v) / f.root + f.epsilon)' '(((real)sqrt(v) + f.epsilon) / f.root)'
mutant optimise/adam.c training 'the step goes uphill' 'weights[j] -= f.rate' 'weights[j] += f.rate'
mutant optimise/adam.c training 'second moment of g, not g squared' 'rest2 * g * g' 'rest2 * g'
mutant optimise/mean.c training 'the mean forgets its weight' 'sum[j] += weight * (double)x[j]' 'sum[j] += (double)x[j]'
mutant optimise/mean.c training 'the mean keeps only the last part' 'sum[j] += weight' 'sum[j] = weight'
mutant finite.c training 'NaN accepted' '!isfinite(sum)' '0'
mutant finite.c training 'the last numbers are not looked at' 'for (; j < count; j++)
        lanes' 'for (; j + 1 < count; j++)
        lanes'
mutant finite.c training 'only the first lane counts' 'l < LANES; l++)
        sum' 'l < 1; l++)
        sum'

mutant optimise/outer.c outer 'the average goes the other way' 'weights[j] += rate * change[j]' 'weights[j] -= rate * change[j]'
mutant optimise/outer.c outer 'momentum without a look ahead' 'rate * (gradient + momentum * v)' 'rate * v'
mutant optimise/outer.c outer 'the velocity is forgotten' 'momentum * velocity[j] + gradient' 'gradient'
mutant optimise/outer.c outer 'the change taken for a gradient' 'real gradient = -change[j]' 'real gradient = change[j]'
mutant optimise/outer.c outer 'Adam takes the change for a gradient' 'negate(change, count);' ''
mutant optimise/schedule.c outer 'the first iteration of a warm-up stands still' '((double)iteration + 1) /' '((double)iteration) /'
mutant optimise/schedule.c outer 'the fall begins before the warm-up ends' '(schedule->target - schedule->warmup)' '(schedule->target)'
mutant optimise/schedule.c outer 'G begins' 'iteration % 2 == 0 ?' 'iteration % 2 != 0 ?'
mutant optimise/schedule.c outer 'steps of the other network counted' 'iteration : iteration / 2' 'iteration : iteration'
mutant net/passes.c unit 'D learns from real images where G alone is wanted' 'p->unit->networks != DCGAN_GENERATOR_ONLY}' '1}'
mutant net/passes.c unit 'G learns where D alone is wanted' 'p->unit->networks != DCGAN_DISCRIMINATOR_ONLY}' '1}'

mutant host/loss.c training 'softplus of the wrong sign' 'sum += softplus(-(double)logits[i])' 'sum += softplus((double)logits[i])'
mutant host/loss.c training 'softplus overflows' '(x > 0 ? x : 0) + log1p(exp(-fabs(x)))' 'log(1 + exp(x))'
mutant host/loss.c training 'log in place of log1p' 'log1p(exp(-fabs(x)))' 'log(1 + exp(-fabs(x)))'
mutant host/loss.c training 'derivative plus target' '(sigmoid - target)' '(sigmoid + target)'
mutant host/loss.c training 'derivative for negative logits' 'e / (1 + e)' '1 / (1 + e)'

mutant random.c random 'nine rounds of Philox' 'round < 10' 'round < 9'
mutant random.c random 'key schedule' 'k1 += 0xBB67AE85u' 'k1 += 0x9E3779B9u'
mutant random.c random 'sine and cosine swapped' \
	'deviates[pair] = radius * cos(two_pi * v);
        deviates[pair + 1] = radius * sin' 'deviates[pair + 1] = radius * cos(two_pi * v);
        deviates[pair] = radius * sin'
mutant random.c random 'logarithm of zero' '((double)block[pair] + 1.0)' '((double)block[pair])'
mutant random.c random 'iteration left out of the noise' '(uint32_t)(j / 4), c1, c2, stream' '(uint32_t)(j / 4), c1, 0, stream'
mutant random.c random 'five rounds of the Feistel network' 'round < 6' 'round < 5'
mutant random.c random 'Feistel halves not swapped' 'left = swapped;' 'left = left;'
mutant random.c random 'one epoch is like the other' 'right, round, epoch, DCGAN_STREAM_ORDER' 'right, round, 0, DCGAN_STREAM_ORDER'
mutant random.c random 'no walk along the cycle' 'while (x >= images);' 'while (0);'
mutant random.c random 'every slice of weights starts at the first deviate' 'weight_deviate(seed, j)' 'weight_deviate(seed, j - first)'

mutant model.c model 'stride of the 1x1 layers' 'stride = small_size == 1 ? 1 : 2' 'stride = 2'
mutant model.c model 'a stage is missing' 'size < image_size' '2 * size < image_size'
mutant model.c model 'batch norm on the first layer of the discriminator' '.normalised = i > 0 && i < stages' '.normalised = i < stages'
mutant model.c model 'slope of the LeakyReLU' '.slope = (real)0.2' '.slope = (real)0.1'
mutant model.c model 'scales start at 0' 't->mean = kind == DCGAN_SCALE ? 1.0 : 0.0' 't->mean = 0.0'
mutant model.c model 'variances not counted' 'model->statistics_count += 2 * channels' 'model->statistics_count += channels'
mutant model.c model 'two channels accepted' 'c->channels != 1 && c->channels != 3' 'c->channels < 1 || c->channels > 3'
mutant model.c model 'latent limit off by one' 'c->latent > DCGAN_MAX_LATENT' 'c->latent >= DCGAN_MAX_LATENT'

mutant host/unit.c 'gradients unit' 'statistics of a minibatch forget the mean' \
	'((double)v[c] + (double)m[c] * (double)m[c])' '((double)v[c])'
mutant net/network.c 'gradients unit' 'the wrong input for the weight gradient' \
	'i ? tape->output[i - 1] : tape->input' 'i > 1 ? tape->output[i - 1] : tape->input'
mutant net/network.c 'gradients unit' 'backward without the derivative of tanh' \
	'b->hyperbolic_tangent_backward(device, s->dy, tape->output[i], count)' 'DCGAN_OK'
mutant net/network.c 'gradients unit' 'backward without the rectifier' \
	'b->rectify_backward(device, s->dy, tape->output[i], count, layer->slope)' 'DCGAN_OK'
mutant net/network.c unit 'evaluation by the statistics of the first layer' \
	'mean = tensor_at(running, layer->statistics)' 'mean = tensor_at(running, 0)'

mutant optimise/statistics.c training 'biased running variance' '* values / (values - 1)' '* 1.0'
mutant optimise/statistics.c training 'discriminator counts its images once' '(discriminator ? 2 : 1)' '1'
mutant optimise/statistics.c training 'variance of the means forgotten' 'second[c] - first[c] * first[c]' 'second[c]'
mutant optimise/statistics.c training 'weight of a part forgotten' 'first[c] += a->weight *' 'first[c] += 1.0 *'
mutant optimise/statistics.c training 'momentum the other way round' \
	'r->momentum * ((double)new_mean[c]' '(1 - r->momentum) * ((double)new_mean[c]'
mutant optimise/statistics.c training 'negative variance' '(v > 0 ? v : 0)' '(v > 0 ? v : -1)'

mutant net/passes.c unit 'statistics of real and fake images without their half' '0.5 * share' 'share'
mutant net/passes.c 'gradients unit' "the generator's backward pass added to the discriminator's gradient" \
	'own_loss ? p->gradient : (tensor){0}' 'p->gradient'
mutant net/passes.c 'gradients unit' 'minibatches instead of images weighed' \
	'target, 1.0 / (double)p->mean_over)' 'target, 1.0 / (double)count)'
mutant net/passes.c 'gradients unit' 'the saturating loss of the generator' \
	'{1, SUM_LOSS_G' '{0, SUM_LOSS_G'
mutant net/passes.c 'gradients unit' 'fake images learned as real' \
	'learn_own(p, 0, count' 'learn_own(p, 1, count'
mutant net/unit.c 'gradients unit' 'gradient not cleared' \
	'TRY(b->zero(p->device, p->gradient, count));' ''
mutant net/passes.c unit 'every minibatch draws the same noise' 'unit->position + first + i' 'unit->position + i'
mutant net/passes.c unit 'every minibatch sees the same images' 'p->unit->images + first *' 'p->unit->images + 0 *'
mutant host/memory.c unit 'samples in [0, 1]' '/ 127.5f - 1.0f' '/ 255.0f'
mutant host/unit.c unit 'accuracy of the fake images' 'target ? logits[i] > 0 : logits[i] < 0' 'logits[i] > 0'
mutant net/unit.c unit 'NaN in the gradient accepted' \
	'isfinite(r->loss_d) && isfinite(r->loss_g) && isfinite(sums[SUM_FINITE]) &&
                   dcgan_finite(r->statistics, p->model->statistics_count, NULL)' '1'
mutant net/unit.c unit 'workspace not checked' 'if (workspace_bytes < bytes)' 'if (workspace_bytes + 1 < bytes)'
mutant net/unit.c backend 'a far gradient is not read' 'TRY(b->read(p->device, p->result->gradient + first, tensor_at(p->gradient, first), count));' ''
mutant net/network.c backend 'a failed convolution is passed over' 'TRY(layer->transposed ? b->transposed_convolution' '((void)0, layer->transposed ? b->transposed_convolution'
mutant cpu/cpu.c unit 'gradients of all minibatches add up' 's->gradient[i] = 0;' ';'

mutant gradients.c unit 'every minibatch is told to be final' 'first + count == p->unit->count ? &finish : NULL' '&finish'
mutant net/network.c unit 'batch norm forgotten in what is told to be final' 'layer->weight_count + norm' 'layer->weight_count'

mutant local_steps.c unit 'G learns from the old D' \
	'TRY(passes_judge(p, count));
    TRY(passes_generator' 'TRY(passes_generator'
mutant local_steps.c unit 'D steps at the learning rate of G' '&l->options->discriminator, t)' '&l->options->generator, t)'
mutant local_steps.c unit 'every step is the first' 'left : unit->batch, j + 1' 'left : unit->batch, 1'
mutant local_steps.c unit 'all minibatches count alike in the statistics' \
	'return momentum * pow(1.0 - momentum, (double)(minibatches - 1 - j)) / all' 'return all * 0 + 1.0 / (double)(minibatches + j * 0)'
mutant local_steps.c unit 'the first minibatch counts most' '(double)(minibatches - 1 - j)' '(double)j'
mutant local_steps.c unit 'the last short minibatch is a mean over a whole one' 'p->mean_over = count' 'p->mean_over = p->unit->batch'
mutant local_steps.c unit 'the last short minibatch is forgotten' ' + (unit->count % unit->batch > 0)' ''
mutant net/unit.c unit 'moments not cleared' 'TRY(b->zero(p->device, p->moment1, count));' ''
mutant host/unit.c unit 'the change the other way round' 'd[i] = x[i] - y[i]' 'd[i] = y[i] - x[i]'
mutant local_steps.c unit 'every minibatch tells that it is final' 'first + count == p->unit->count' '1'
mutant local_steps.c unit 'a momentum of zero accepted' 'options->norm_momentum > 0 &&' ''

mutant generate.c training 'samples not rounded' '* 127.5 + 0.5;' '* 127.5;'
mutant generate.c unit 'the same noise for all generated images' 'first + step * (uint32_t)i' 'first'

mutant cpu/im2col.c convolutions 'padding above' 'start < padding ? padding - start : 0' '0'
mutant cpu/im2col.c convolutions 'padding below' 'start + 4 - padding > size ? size + padding - start : 4' '4'
mutant cpu/im2col.c convolutions 'border not cleared' 'memset(patches, 0, 16 * a * sizeof *patches)' '(void)0'
mutant cpu/im2col.c convolutions 'image not cleared' 'memset(large, 0, large_of(s) * sizeof *large);' ''
mutant cpu/im2col.c convolutions 'overlapping patches overwritten' 'to[k] += from[k]' 'to[k] = from[k]'
mutant cpu/im2col.c convolutions 'weight gradient overwritten' '.add = 1' '.add = 0'
mutant cpu/im2col.c convolutions 'convolution added to what was there' \
	'.c_step = b});' '.c_step = b, .add = 1});'
mutant cpu/im2col.c convolutions 'small matrix not transposed in the weight gradient' \
	'GEMM_ATB' 'GEMM_AB'
mutant cpu/im2col.c convolutions 'weights not transposed in the convolution' 'GEMM_ABT' 'GEMM_AB'
mutant cpu/im2col.c convolutions 'every block of the convolution written over the first' \
	'c.to_small = small + n * c.pixels * s->small_channels;' 'c.to_small = small;'
mutant cpu/im2col.c convolutions 'every block of the transposed convolution written over the first' 'c.to_large = large + n * large_of(s);' 'c.to_large = large;'
mutant cpu/im2col.c convolutions 'every group of the transposed convolution written over the first' \
	'add_patches(c->to_large + (first + n) * large_of(c->shape)' 'add_patches(c->to_large + n * large_of(c->shape)'
mutant cpu/im2col.c convolutions 'outputs after the first group get no gradient' '(s->small_channels + GROUP_OUTPUTS - 1) / GROUP_OUTPUTS' '1'
mutant cpu/im2col.c convolutions 'stride across is always 2' \
	'clip(s->stride, j, s->padding, s->large_width, &x0, &x1);
            if' 'clip(2, j, s->padding, s->large_width, &x0, &x1);
            if'

mutant cpu/gemm.c gemm 'blocks after the first overwrite the sums' \
	'x.add = p->add || k > 0' 'x.add = p->add'
mutant cpu/gemm.c gemm 'a tile forgets what was there' '(p->add ? *to : 0) + tile' 'tile'
mutant cpu/gemm.c gemm 'far rows of a packed too densely' \
	'packed + r * (BLOCK_DEPTH + PADDING), p.a' 'packed + r * BLOCK_DEPTH, p.a'
mutant cpu/kernels_body.h gemm 'the last numbers of a vector forgotten' \
	'total += a[i * a_step + j] * x[j];' '(void)j;'
mutant cpu/kernels_body.h gemm 'the last rows of a transposed panel forgotten' \
	'for (size_t k = whole; k < depth; k++)' 'for (size_t k = whole; k + 1 < depth; k++)'

mutant cpu/winograd.c winograd 'the last block takes images that are not there' 'size_t count = images - n < block ? images - n : block;
        w.rows = count * w.tiles;
        w.input = small + n * w.small_count;
        w.output = large' 'size_t count = block;
        w.rows = count * w.tiles;
        w.input = small + n * w.small_count;
        w.output = large'
mutant cpu/winograd.c winograd 'every block read from the first image' 'w.input = large + n * w.large_count;
        w.output' 'w.input = large;
        w.output'
mutant cpu/winograd.c winograd 'every slice is the first' 'w->first < columns; w->first += slice' 'w->first < slice; w->first += slice'
mutant cpu/winograd.c winograd 'panels of a slice share their weights' 'w->first + panel * w->kernels->columns, w->shape);
}

static void input_panel' 'w->first, w->shape);
}

static void input_panel'
mutant cpu/winograd.c winograd 'takes images that are not whole tiles' 's->small_height % KERNEL_TILE == 0 &&' ''
mutant cpu/kernels_body.h winograd 'a coefficient of the input transform' '2 * d1 - 3 * d2 + d3' '2 * d1 - 2 * d2 + d3'
mutant cpu/kernels_body.h winograd 'a coefficient of its adjoint' '-2 * p0 - p1 - 3 * p2 - p4' '-2 * p0 - p1 - 2 * p2 - p4'
mutant cpu/kernels_body.h winograd 'a coefficient of the output transform' 'difference + 8 * m3' 'difference + 4 * m3'
mutant cpu/kernels_body.h winograd 'a coefficient of its adjoint' '4 * y[2 * step] + 8 * y3' '8 * y[2 * step] + 8 * y3'
mutant cpu/kernels_body.h winograd 'a coefficient of the weight transform, in the sixth digit' 'sixth0 = g0 * (real)(1.0 / 6)' 'sixth0 = g0 * (real)0.166667'
mutant cpu/kernels_body.h winograd 'a coefficient of its adjoint' '(u2 + 2 * u3)' '(u2 + u3)'
mutant cpu/kernels_body.h winograd 'the border of the image is the pixel before' 'quarter % 2 - 1; /* huge' 'quarter % 2; /* huge'
mutant cpu/kernels_body.h winograd 'overlapping tiles overwritten' 'store(to, load(to) + d[p])' 'store(to, d[p])'
mutant cpu/kernels_body.h winograd 'weight gradient overwritten' 'store(to + 2 * a + c, load(to + 2 * a + c) + u[1])' 'store(to + 2 * a + c, u[1])'
mutant cpu/kernels_body.h winograd 'rows of the last block of sums forgotten' 'rows / blocks + (block < rows % blocks)' 'rows / blocks'
mutant cpu/pool.c winograd 'the first task is never done' '*task = (uint32_t)ticket - 1' '*task = (uint32_t)ticket'

mutant cpu/layers.c layers 'unbiased variance' '(double)rows, square = total(&n, 1, c) / (double)rows' '(double)rows, square = total(&n, 1, c) / (double)(rows - 1)'
mutant cpu/layers.c layers 'the second block of channels has the moments of the first' 'n->x + first * n->channels + c, n->x + c' 'n->x + first * n->channels, n->x'
mutant cpu/layers.c layers 'the pivot forgotten in the mean' '(real)((double)x[c] + shift)' '(real)shift'
mutant cpu/layers.c layers 'only the first part of the rows counts' 'for (size_t part = 0; part < PARTS; part++)
        sum' 'for (size_t part = 0; part < 1; part++)
        sum'
mutant cpu/layers.c layers 'no epsilon' '(double)variance[c] + DCGAN_NORM_EPSILON' '(double)variance[c]'
mutant cpu/layers.c layers 'ten times the epsilon' '(double)variance[c] + DCGAN_NORM_EPSILON' '(double)variance[c] + 10 * DCGAN_NORM_EPSILON'
mutant cpu/layers.c layers 'sign of the offset' '(double)shift[c] - factor' '(double)shift[c] + factor'
mutant cpu/layers.c layers 'mean of dv not subtracted' '(dv - mean_dv[c] - (x[c]' '(dv - (x[c]'
mutant cpu/layers.c layers 'sign of the variance term' '- mean_dv[c] - (x[c]' '- mean_dv[c] + (x[c]'
mutant cpu/layers.c layers 'the slope ignored in the sums' 'dv = v > 0 ? dy[c] : slope * dy[c];
            sum_dv' 'dv = dy[c];
            sum_dv'
mutant cpu/layers.c layers 'dscale overwritten' 'dscale[c] +=' 'dscale[c] ='
mutant cpu/layers.c layers 'dshift overwritten' 'dshift[c] +=' 'dshift[c] ='
mutant cpu/layers.c layers 'rectifier ignores its slope' 'x[i] = x[i] > 0 ? x[i] : slope * x[i]' 'x[i] = x[i] > 0 ? x[i] : 0'
mutant cpu/layers.c layers 'rectifier passes on what it stopped' \
	'dy[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}' 'dy[i] = y[i] >= 0 ? dy[i] : slope * dy[i];
}'
mutant cpu/layers.c layers 'derivative of tanh' '1 - y[i] * y[i]' '1 + y[i] * y[i]'
mutant naive/naive.c layers 'stride across is always 2' 'v = s->stride * j + kx' 'v = 2 * j + kx'
mutant naive/naive.c layers 'weight gradient overwritten' 'a] += (real)sum' 'a] = (real)sum'

# ---- building and running -----------------------------------------------------------------------------------

# Names the kind of numbers a test is compiled for.
kind_of() {
	case $1 in gradients | *_double) echo double ;; *) echo float ;; esac
}

# Compiles a source below FOLDER into FOLDER's objects: compile FOLDER NAME KIND OBJECTS
compile() {
	local define=() source
	[ "$3" = double ] && define=(-DDCGAN_DOUBLE)
	if [ "$2" = cpu/kernels_body.h ]; then # what is compiled are the files that include it
		for source in cpu/kernels_avx512.c cpu/kernels_avx2.c cpu/kernels_portable.c; do
			compile "$1" "$source" "$3" "$4" || return
		done
		return
	fi
	"$cc" "${cflags[@]}" "${define[@]}" -c "$1/src/dcgan/$2" -o "$4/$3/${2//\//_}.o"
}

compile_test() {
	local define=()
	[ "$(kind_of "$1")" = double ] && define=(-DDCGAN_DOUBLE)
	"$cc" "${cflags[@]}" "${define[@]}" -c "$work/test/unit/test_$1.c" -o "$work/objects/test_$1.o"
}

# Links and runs one test, the objects in a folder taking the place of their namesakes; returns 125 if it doesn't
# link: run_test FOLDER TEST
run_test() {
	local kind object name objects=() extra=()
	kind=$(kind_of "$2")
	[ "$2" = unit ] && extra=("$work/objects/fixture.o")
	for object in "$work/objects/$kind"/*.o; do
		name=$1/$kind/${object##*/}
		[ -f "$name" ] || name=$object
		objects+=("$name")
	done
	"$cc" -o "$1/test_$2" "$work/objects/test_$2.o" "${extra[@]}" "${objects[@]}" "${libraries[@]}" >"$1/log" 2>&1 || return 125
	{ timeout -k 5 60 "$1/test_$2" >"$1/log" 2>&1; } 2>/dev/null # without the shell's word on a crash
}

# Replaces the text FROM, which must be there exactly once, in FILE: mutate FILE FROM TO. Where lines are broken does not count.
mutate() {
	FROM=$2 TO=$3 perl -0777 -i -pe 'BEGIN { $from = join "\\s+", map { quotemeta } split /\s+/, $ENV{FROM}; $n = 0 }
		$n += s/$from/$ENV{TO}/g; END { exit($n == 1 ? 0 : 1) }' "$1"
}

# Runs the tests on mutant number $1, whose source is in folder $2, until one kills it; prints the verdict.
verdict_of() {
	local n=$1 folder=$2 file=${files[$1]} test kind

	# shellcheck disable=SC2086 # the first tests are words
	for test in $(printf '%s\n' ${firsts[n]} "${tests[@]}" | awk '!seen[$0]++'); do
		kind=$(kind_of "$test")
		if [ ! -f "$folder/$kind/${file//\//_}.o" ] && ! compile "$folder" "$file" "$kind" "$folder" 2>"$folder/log"; then
			echo "broken: it does not compile"
			return
		fi
		run_test "$folder" "$test"
		case $? in
		0) ;;
		125)
			echo "broken: it does not link"
			return
			;;
		*)
			echo "killed by test_$test"
			return
			;;
		esac
	done
	echo "alive: all tests passed"
}

# Builds mutant number $1 and writes the verdict to its folder.
try_mutant() {
	local n=$1 folder=$work/mutant_$1

	mkdir -p "$folder/float" "$folder/double"
	cp -r "$work/src" "$folder/src"
	if mutate "$folder/src/dcgan/${files[n]}" "${froms[n]}" "${tos[n]}"; then
		verdict_of "$n" "$folder" >"$folder/verdict"
	else
		echo "stale: its text is not in the file exactly once" >"$folder/verdict"
	fi
	rm -rf "$folder/src" "$folder/float" "$folder/double" "$folder"/test_*
}

# Runs a command in the background, at most $jobs of them at a time.
in_background() {
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	"$@" &
}

bail_out() {
	echo "Bail out! $1"
	exit 1
}

mkdir -p "$work/objects/float" "$work/objects/double" "$work/src" "$work/test" "$work/baseline"
cp -r "$root/src/dcgan" "$work/src/dcgan"
cp -r "$root/test/unit" "$work/test/unit"

rm -r "$work/src/dcgan/gpu" # its tests need a device
for source in "$work"/src/dcgan/*.c "$work"/src/dcgan/*/*.c; do
	for kind in float double; do
		in_background compile "$work" "${source#"$work/src/dcgan/"}" "$kind" "$work/objects"
	done
done
for test in "${tests[@]}"; do
	in_background compile_test "$test"
done
in_background "$cc" "${cflags[@]}" -c "$work/test/unit/fixture.c" -o "$work/objects/fixture.o"
wait

[ ${#files[@]} -gt 0 ] || bail_out "no mutant's name contains \"$only\""
for test in "${tests[@]}"; do
	if ! run_test "$work/baseline" "$test"; then
		sed 's/^/# /' "$work/baseline/log"
		bail_out "test_$test fails (or does not build) without any mutation"
	fi
done

echo "1..${#files[@]}"
for n in "${!files[@]}"; do
	in_background try_mutant "$n"
done
wait

failed=0
for n in "${!files[@]}"; do
	verdict=$(cat "$work/mutant_$n/verdict" 2>/dev/null || echo "broken: no verdict")
	case $verdict in
	killed*) echo "ok $((n + 1)) - killed: ${files[n]}: ${descriptions[n]} (${verdict#killed by })" ;;
	*)
		echo "not ok $((n + 1)) - ${files[n]}: ${descriptions[n]}: $verdict"
		[ "${verdict%%:*}" = broken ] && sed 's/^/# /' "$work/mutant_$n/log"
		failed=$((failed + 1))
		;;
	esac
done
echo "# ${#files[@]} mutants, $failed not killed"
[ "$failed" -eq 0 ]
