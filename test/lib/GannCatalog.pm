# What PostgreSQL's catalogs say of the extension in a database, one line a fact, without the order
# of columns: what an updated and a freshly installed extension must have in common.
#
#   my @facts = GannCatalog::extension($server, 'train');
#   my @facts = GannCatalog::partitions($server, 'train', $run);
package GannCatalog;
use strict;
use warnings;

# Facts of a set of relations, a query that gives their OIDs (r.oid).
my $relations = q{
    SELECT format('%s: kind %s, persistence %s, owner %s, options %s, acl %s, comment %s, access method %s, replica identity %s, row security %s', c.oid::regclass, c.relkind, c.relpersistence,
                  c.relowner::regrole, (SELECT array_agg(o ORDER BY o)
                  FROM unnest(c.reloptions) o), (SELECT array_agg(a::text ORDER BY a::text)
                  FROM unnest(c.relacl) a),
                  obj_description(c.oid, 'pg_class'), (SELECT amname FROM pg_am
                  WHERE pg_am.oid = c.relam), c.relreplident, c.relrowsecurity)
        FROM r JOIN pg_class c USING (oid)
    UNION ALL SELECT
        format('%s.%s: %s, not null %s, default %s, identity "%s", generated "%s", storage %s, compression "%s", collation %s, statistics %s, acl %s, comment %s', a.attrelid::regclass, a.attname,
                            format_type(a.atttypid, a.atttypmod), a.attnotnull,
                                pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
                                a.attstorage, a.attcompression,
                            a.attcollation::regcollation, a.attstattarget, a.attacl,
                                col_description(a.attrelid, a.attnum))
        FROM r JOIN pg_attribute a ON a.attrelid = r.oid
        AND a.attnum > 0
        AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid
        AND d.adnum = a.attnum
    UNION ALL SELECT format('%s: constraint %s %s, validated %s, of its own %s, from %s parents',
        n.conrelid::regclass, n.conname, pg_get_constraintdef(n.oid), n.convalidated, n.conislocal,
        n.coninhcount)
        FROM r JOIN pg_constraint n ON n.conrelid = r.oid
    UNION ALL SELECT format('index %s, valid %s, options %s', pg_get_indexdef(i.indexrelid),
        i.indisvalid, x.reloptions)
        FROM r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL SELECT format('%s: trigger %s', t.tgrelid::regclass, pg_get_triggerdef(t.oid)) FROM r
    JOIN pg_trigger t ON t.tgrelid = r.oid
    AND NOT t.tgisinternal
    UNION ALL SELECT format('view %s: %s', c.oid::regclass, pg_get_viewdef(c.oid)) FROM r
    JOIN pg_class c USING (oid)
    WHERE c.relkind = 'v'};

my $extension = qq{
    WITH e AS (SELECT * FROM pg_extension WHERE extname = 'gannsfriends'),
    member AS (SELECT d.classid, d.objid FROM pg_depend d JOIN e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid WHERE d.deptype = 'e'),
    r AS (SELECT objid AS oid FROM member WHERE classid = 'pg_class'::regclass)
    $relations
    UNION ALL SELECT format('extension: version %s, schema %s, relocatable %s', extversion, extnamespace::regnamespace, extrelocatable) FROM e
    UNION ALL SELECT format('dumped with its rows: %s where "%s"', t.oid::regclass, t.condition) FROM e, unnest(e.extconfig, e.extcondition) AS t (oid, condition)
    UNION ALL SELECT format('member %s', pg_describe_object(classid, objid, 0)) FROM member
    UNION ALL SELECT format('first rights on %s: %s', pg_describe_object(i.classoid, i.objoid, i.objsubid), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(i.initprivs) a))
        FROM pg_init_privs i JOIN member m ON m.classid = i.classoid AND m.objid = i.objoid
    UNION ALL SELECT format('%s: owner %s, acl %s, comment %s: %s', p.oid::regprocedure, p.proowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.proacl) a),
                            obj_description(p.oid, 'pg_proc'),
                            -- w.* in the body of a function that is parsed when it is made stands for columns in their order
                            CASE WHEN p.prosqlbody IS NULL THEN pg_get_functiondef(p.oid) ELSE (SELECT string_agg(l, chr(10) ORDER BY l) FROM regexp_split_to_table(pg_get_functiondef(p.oid), ',?\n') l) END)
        FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    ORDER BY 1};

sub facts {
    my ($server, $database, $query) = @_;
    my $facts = $server->psql(
        "SET search_path = pg_catalog, public; SELECT json_agg(f.fact
                ORDER BY f.fact COLLATE \"C\")
            FROM ($query) AS f (fact)", db => $database
    );
    require JSON::PP;
    return @{ JSON::PP->new->decode($facts) };
}

sub extension { my ($server, $database) = @_; return facts($server, $database, $extension) }

# Those of a run's partitions, which are no members; the run's number is left out of them.
sub partitions {
    my ($server, $database, $run) = @_;
    my $query = "WITH r AS (SELECT oid FROM pg_class
            WHERE relname ~ '^gan_(state|gradient)_piece_r${run}(_[01])?\$') $relations";
    return
        sort map { s/_r${run}(?!\d)/_rN/gr =~ s/run = $run\b/run = N/gr }
        facts($server, $database, $query);
}

# What only one of two lists has: a line each, as diff writes it.
sub difference {
    my ($a, $b) = @_;
    my (%a, %b);
    $a{$_}++ for @{$a};
    $b{$_}++ for @{$b};
    return join "\n", (map {"< $_"} grep { !$b{$_} } @{$a}), map {"> $_"} grep { !$a{$_} } @{$b};
}

1;
