-- -------------------------------------------------------------------------------------------------
-- Rights of viewers, which students have too
-- -------------------------------------------------------------------------------------------------

-- What everybody may see holds no login, no host and no password.
GRANT USAGE ON SCHEMA @extschema@ TO gan_viewer;
GRANT gan_viewer TO gan_student;
GRANT SELECT ON gan_progress, gan_learning_curve, gan_leaderboard, gan_cluster,
    gan_sheet_list TO gan_viewer;
GRANT EXECUTE ON FUNCTION gan_sheet_png(int, int), gan_iteration_report(int, int) TO gan_viewer;
GRANT EXECUTE ON FUNCTION gan_set_nickname(text) TO gan_student;
GRANT EXECUTE ON FUNCTION gan_reference_wanted(int),
    gan_contribute_reference(int, int, bytea) TO gan_student;
-- src/dashboard
GRANT EXECUTE ON FUNCTION gan_dashboard_runs(), gan_dashboard(int),
    gan_dashboard_curves(int) TO gan_viewer;
