#!/bin/bash
# The server's own coordinator: how soon after the last submission's commit the step begins, and its cost while no
# worker is there.
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

iterations=60 idle=60
[ -z "$quick" ] || iterations=10 idle=5

# The guard would refuse the benchmark's statements, which are not those of gan_worker.
bench_server durable "shared_preload_libraries = 'gannsfriends'" 'gannsfriends.guard = off' 'track_commit_timestamp = on'
# The moment at which a tick calls the step, beside the commit of the last unit that enters it.
sql 'CREATE TABLE began (iteration int, seconds float8); GRANT INSERT ON began TO PUBLIC;
	ALTER FUNCTION gan_take_step(gan_run) RENAME TO take_step;
	CREATE FUNCTION gan_take_step(r gan_run) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.began SELECT r.iteration, extract(epoch FROM clock_timestamp() - max(pg_xact_commit_timestamp(u.xmin)))
			FROM public.gan_work_unit u WHERE u.run = r.run AND u.iteration = r.iteration AND u.state = $s$done$s$;
		RETURN public.take_step(r); END $$;
	GRANT EXECUTE ON FUNCTION gan_take_step(gan_run) TO PUBLIC' >/dev/null
uri=$(sql "SELECT gan_enroll('bench', '127.0.0.1')")
create_run tiny 'local_steps => 0, units_per_iteration => 2, images_per_unit => 64, channels => 1, image_size => 32, latent => 1,
	generator_features => 1, discriminator_features => 1' >/dev/null
sql 'SELECT gan_set_policy(sheet_every => 0, quality_every => 0)' >/dev/null # they are drawn beside the steps
"$programs/hand_in" react "$uri" tiny 2 "$iterations" >/dev/null
read -r median least most < <(sql 'SELECT seconds FROM began WHERE iteration > 3' | summary 1000)
figure submission_to_step_ms "$median" ms "from the commit of the last submission to the step's begin, 2 units, next to no parameters, $server_says, min/median/max $least/$median/$most"

# cpu_ms PROCESS: milliseconds of processor time that it has used.
cpu_ms() { awk '{ printf "%.3f\n", $1 / 1e6 }' "/proc/$1/schedstat"; }

sql 'SELECT gan_stop()' >/dev/null
create_run idle 'lease_seconds => 3600' >/dev/null
sleep 2
pid=$(sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'gannsfriends coordinator'")
before=$(cpu_ms "$pid")
sleep "$idle"
figure coordinator_idle_ms_per_minute "$(calculate "60 / $idle * ($(cpu_ms "$pid") - $before)")" ms "of processor time, one run under way, nobody there, over $idle s"
