# A cluster as Debian makes it (pg_createcluster: its own pg_hba.conf, conf.d, port, logs), and the
# documents' commands run on it.
#
#   my $debian = GannDebian->new;                       # undef where there is no pg_createcluster, or not root
#   $debian->shell($lines);                             # "sudo" left out, /etc/postgresql being the cluster's own
#   $debian->sql($statements);                          # sudo -u postgres psql train
#
# Everything lies in a folder of its own; the machine's clusters are not touched. The server ends
# with the object or the program.
package GannDebian;
use strict;
use warnings;
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use GannTest;

my %live;

sub new {
    my ($class) = @_;
    return if $> != 0 || !-x '/usr/bin/pg_createcluster' || !-x '/usr/lib/postgresql/15/bin/initdb';
    my $folder = tempdir('gann.XXXXXX', DIR => '/tmp', CLEANUP => 0);
    my $self = bless { folder => $folder, owner => $$ }, $class;
    chmod 0755, $folder;
    mkdir "$folder/$_" for qw(etc run bin);
    system 'chown', '-R', 'postgres:', $folder;
    $live{$self} = $folder;
    $self->{port} = GannTest::_free_port();
    # "sudo" of the documents is what root can do without it.
    open my $out, '>', "$folder/bin/sudo" or die $!;
    print $out
        qq{#!/bin/sh\n[ "\$1" != -u ] || { user=\$2; shift 2; exec runuser -u "\$user" -- "\$@"; }\nexec "\$@"\n};
    close $out;
    chmod 0755, "$folder/bin/sudo";
    return $self;
}

# Makes the cluster 15/main, with Debian's pg_hba.conf; as `pg_createcluster 15 main` does, in this
# folder.
sub create {
    my ($self) = @_;
    my $f = $self->{folder};
    return $self->shell(
        "pg_createcluster 15 main -d $f/data -s $f/run -l $f/server.log -p $self->{port} "
        . "--locale C.UTF-8 -- --no-sync"
    );
}

# (exit status, output) of lines for the shell.
sub shell {
    my ($self, $lines) = @_;
    my $f = $self->{folder};
    $lines =~ s{/etc/postgresql/}{$f/etc/}g;
    local %ENV = (
        %ENV,
        PG_CLUSTER_CONF_ROOT => "$f/etc",
        PGHOST => "$f/run",
        PGPORT => $self->{port},
        PATH => "$f/bin:$ENV{PATH}",
        LC_ALL => 'C.UTF-8'
    );
    delete @ENV{qw(PGUSER PGDATABASE PGPASSWORD PGOPTIONS)};
    return GannTest::_capture({ input => $lines, cwd => $f }, 'bash', '-eu');
}

sub sql {
    my ($self, $statements) = @_;
    my ($status, $output) = $self->shell(
        "cd / && sudo -u postgres psql -XqAt -v ON_ERROR_STOP=1 train "
        . "<<'END_OF_SQL'\n$statements\nEND_OF_SQL\n"
    );
    die "psql: $output" if $status != 0;
    chomp $output;
    return $output;
}

sub end {
    my ($folder) = @_;
    if (open my $in, '<', "$folder/data/postmaster.pid") {
        chomp(my $pid = <$in>);
        kill 'INT', $pid if $pid =~ /^[0-9]+$/;
        for (1 .. 100) {
            last if !-e "$folder/data/postmaster.pid";
            select undef, undef, undef, 0.1;
        }
        kill 'QUIT', $pid if -e "$folder/data/postmaster.pid";
    }
    remove_tree($folder);
    return;
}

sub DESTROY {
    my ($self) = @_;
    end(delete $live{$self}) if $$ == $self->{owner} && $live{$self};
    return;
}
END { my $status = $?; end($_) for values %live; $? = $status }

1;
