# A class for a test: a server with a coordinator, enrolled students and their workers.
#
#   my $class = GannClass->new;
# gan_create_run's parameters; small by default
#   my $run = $class->create_run('fashion', seed => 7, …);
#   my $worker = $class->worker('ann', '--name', 'x');        # the real gan_worker, in the background
#   $class->coordinate(60);                                    # CALL gan_coordinate in the background
package GannClass;
use strict;
use warnings;
use parent -norequire, 'GannTest';
use GannTest;

our %small = (
    channels => 1,
    image_size => 32,
    latent => 16,
    generator_features => 8,
    discriminator_features => 8,
    local_steps => 0,
    images_per_unit => 20,
    units_per_iteration => 2,
    batch => 8,
    learning_rate => 0.0002,
    seed => 7,
    lease_seconds => 10,
    audit_minimum => 0,    # spot checks are 027_spot_checks.t's affair
);

# In most tests the instructor confirms at once what the first worker says its dataset is; dataset
# => 'by hand' leaves that to the test (034_dataset.t).
sub new {
    my ($class, %opt) = @_;
    my $self = $class->SUPER::new(%opt);
    $self->confirm_datasets
        if !$opt{standby_of} && ($opt{extension} // 1) && ($opt{dataset} // '') ne 'by hand';
    return $self;
}

sub confirm_datasets {
    my ($self, %opt) = @_;
    return $self->psql(
        q{CREATE FUNCTION public.test_confirm() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN UPDATE public.gan_run SET dataset_images = NEW.dataset_images, dataset_digest = NEW.dataset_digest WHERE run = NEW.run AND dataset_digest IS NULL; RETURN NEW; END';
        CREATE TRIGGER test_confirm AFTER INSERT ON gan_worker FOR EACH ROW EXECUTE FUNCTION
            public.test_confirm()}, %opt
    );
}

sub create_run {
    my ($self, $name, %options) = @_;
    my %all = (%small, %options);
    my $arguments = join ', ', map {"$_ => $all{$_}"} sort keys %all;
    return $self->psql("SELECT gan_create_run('$name', $arguments)");
}

# The connection string of a student, who is enrolled at the first call.
sub student {
    my ($self, $name) = @_;
    return $self->{students}{$name} //= $self->psql("SELECT gan_enroll('$name', '127.0.0.1')");
}

sub data { return $_[0]{data_file} // GannTest::fashion_file() }

sub worker_program { return GannTest::root_folder() . '/src/worker/gan_worker' }
sub local_program { return GannTest::root_folder() . '/src/local/gan_local' }

# Starts a worker of a student's in the background, of one thread and for one run; returns its pid.
# A hash of options for start_background may come first.
sub worker {
    my ($self, @arguments) = @_;
    my %opt = ref $arguments[0] ? %{ shift @arguments } : ();
    my $student = shift @arguments;
    return $self->start_background(
        { name => "worker-$student", %opt },
        worker_program(), '--connect', $self->student($student),
        '--data', $self->data, '--once', '--threads', 1, @arguments
    );
}

# Runs the coordinator in the background for a number of seconds (or until all runs are over);
# returns its pid.
sub coordinate {
    my ($self, $seconds) = @_;
    return $self->start_background(
        { name => 'coordinator' }, $self->{bindir} . '/psql',
        '-X', '-q',
        '-h', $self->host,
        '-p', $self->port,
        '-U', 'postgres',
        '-d', $self->database,
        '-c', 'CALL gan_coordinate(' . ($seconds // '') . ')'
    );
}

# Calls the coordinator again and again, for at most ten minutes, whatever becomes of the server
# meanwhile: as pg_cron does.
sub coordinate_again {
    my $self = shift;
    return $self->start_background(
        { name => 'coordinator' }, 'sh',
        '-c', 'for i in $(seq 600); do "$@"; sleep 1; done',
        'sh', $self->{bindir} . '/psql',
        '-X', '-q',
        '-h', $self->host,
        '-p', $self->port,
        '-U', 'postgres',
        '-d', $self->database,
        '-c', 'CALL gan_coordinate(600)'
    );
}

# All shards of the newest weights and the running statistics, as one string of bytes.
sub weights_file {
    my ($self, $run, $file) = @_;
    my $hex = $self->psql(
        "SELECT encode(w.data, 'hex') FROM gan_weights w
            JOIN gan_run r USING (run, iteration)
            WHERE run = $run ORDER BY shard"
        )
        . $self->psql(
        "SELECT encode(running, 'hex') FROM gan_batch_norm
              JOIN gan_run USING (run, iteration)
              WHERE run = $run"
        );
    open my $out, '>:raw', $file or die "$file: $!";
    print $out pack 'H*', $hex =~ s/\n//gr;
    close $out or die "$file: $!";
    return $file;
}

# Writes all that is stored of a unit that is done into a new folder, as
# test/independent/recompute.py reads it. The weights it began with must still be there.
sub export_unit {
    my ($self, $unit, $folder) = @_;
    my $key = $self->psql("SELECT run || ', ' || iteration FROM gan_work_unit WHERE unit = $unit");
    mkdir $folder or die "$folder: $!";
    write_file(
        "$folder/unit.json",
        $self->psql(
            "SELECT jsonb_build_object('seed', r.seed,
                'channels', r.channels, 'image_size', r.image_size, 'latent', r.latent,
        'generator_features', r.generator_features, 'discriminator_features',
            r.discriminator_features, 'iteration', u.iteration, 'first_position', u.first_position,
        'images', u.images, 'batch', u.batch, 'dataset_images', r.dataset_images, 'dataset_digest',
            encode(r.dataset_digest, 'hex'), 'loss_d', u.loss_d, 'loss_g', u.loss_g,
        'accuracy_real', u.accuracy_real, 'accuracy_fake', u.accuracy_fake, 'local_steps',
            r.local_steps, 'unit_sizing', r.unit_sizing, 'generator_learning_rate',
            r.generator_learning_rate,
        'discriminator_learning_rate', r.discriminator_learning_rate, 'beta1', r.beta1, 'beta2',
            r.beta2, 'epsilon', r.epsilon, 'norm_momentum', r.norm_momentum,
        'learning_rate_schedule', r.learning_rate_schedule, 'warmup_iterations',
            r.warmup_iterations, 'target_iterations', r.target_iterations)
        FROM gan_work_unit u JOIN gan_run r USING (run)
        WHERE u.unit = $unit"
        )
    );
    for my $kind (
        [ 'weights', "gan_weights WHERE (run, iteration) = ($key)" ],
        [ 'gradient', "gan_gradient WHERE unit = $unit" ]
        )
    {
        for my $row (split /\n/, $self->psql("SELECT shard, encode(data, 'hex') FROM $kind->[1]")) {
            my ($shard, $hex) = split /\|/, $row;
            write_file("$folder/$kind->[0]_$shard.blob", pack 'H*', $hex);
        }
    }
    return;
}

sub write_file {
    my ($file, $bytes) = @_;
    open my $out, '>:raw', $file or die "$file: $!";
    print $out $bytes;
    close $out or die "$file: $!";
    return;
}

1;
