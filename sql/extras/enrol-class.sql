-- -------------------------------------------------------------------------------------------------
-- A class from a file: a list of students as other systems export it (CSV)
-- -------------------------------------------------------------------------------------------------

-- The meaning of the headings that other systems use. They are compared in lower case, without
-- spaces, punctuation and accented letters; so "prnom" is a French first name, and
-- "vollstndigername" a German full name. Columns that are not read may be numbered ("group1").
CREATE FUNCTION gan_csv_kind(heading text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN h.bare = ANY
            ('{login,username,user,userid,loginid,loginname,sisloginid,account,benutzer,benutzername,nutzername,anmeldename,kennung,benutzerkennung,identifiant,utilisateur,nomdutilisateur,usuario,nombredeusuario,utente,nomeutente,gebruikersnaam}'::text[])
            THEN 'login'
        WHEN h.bare = ANY
            ('{email,mail,emailaddress,mailaddress,primaryemail,emailadresse,mailadresse,courriel,adressedecourriel,adresseemail,correo,correoelectrnico,direccindecorreo,indirizzoemail,emailadres}'::text[])
            THEN 'email'
        WHEN h.bare = ANY
            ('{name,fullname,displayname,studentname,anzeigename,vollername,vollstndigername,nomcomplet,nombrecompleto,nomecompleto,nomeecognome,volledigenaam}'::text[])
            THEN 'name'
        WHEN h.bare = ANY
            ('{firstname,givenname,forename,vorname,rufname,prnom,nombre,nome,voornaam}'::text[])
            THEN 'first'
        WHEN h.bare = ANY
            ('{lastname,surname,familyname,nachname,familienname,nom,nomdefamille,apellido,apellidos,cognome,achternaam}'::text[])
            THEN 'last'
        WHEN h.bare = ANY
            ('{nickname,nick,spitzname,pseudo,pseudonym,surnom,apodo,alias,soprannome,bijnaam}'::text[])
            THEN 'nickname'
        WHEN h.bare = ANY
            ('{password,passwort,kennwort,pwd,pass,motdepasse,contrasea,wachtwoord}'::text[])
            THEN 'secret'
        WHEN regexp_replace(h.bare, '[0-9]+$',
            '') = ANY
                ('{id,idnumber,studentid,studentnumber,matrikelnummer,matriculationnumber,number,nummer,nr,no,group,groups,gruppe,gruppen,groupe,groupes,grupo,grupos,team,cohort,course,kurs,cours,curso,section,class,klasse,classe,clase,year,semester,major,studiengang,programme,program,role,roles,rolle,rollen,department,abteilung,institution,city,country,phone,telefon,address,anschrift,title,titel,anrede,gender,geschlecht,status,firstaccess,lastaccess,zuletztimkurs,language,sprache,auth,notes,comment,bemerkung,kommentar}'::text[])
                THEN 'unused'
        END
    FROM (SELECT regexp_replace(lower(heading COLLATE "C"), '[^a-z0-9]', '', 'g') AS bare) AS h
$$;

-- The fields of a CSV text: RFC 4180, any line end, with or without a byte-order mark. The
-- separator is the comma, semicolon or tab, the one that the first line has most of, unless a line
-- like "sep=;" before it names one. Empty lines are left out.
CREATE FUNCTION gan_csv_fields(csv text) RETURNS TABLE (line bigint, fields text[])
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    mark text := encode(convert_to(left(csv, 3), getdatabaseencoding()), 'hex');
    content text := CASE
        WHEN mark LIKE 'efbbbf%' THEN substr(csv,
            CASE WHEN getdatabaseencoding() = 'UTF8' THEN 2 ELSE 4 END)
        ELSE csv END;
    first text;
    said text[];
    delimiter text;
    quoted text := '[ ]*"((?:[^"]|"")*)"[ ]*';
    found record;
    read int := 0;
    now bigint := 1;
BEGIN
    content := replace(replace(content, E'\r\n', E'\n'), E'\r', E'\n');
    said := regexp_match(content, E'^sep=([,;\t])\n');
    IF said IS NOT NULL THEN
        content := substr(content, 7);
        now := 2;
    END IF;
    first := regexp_replace(split_part(ltrim(content, E'\n '), E'\n', 1), '"[^"]*"', '', 'g');
    delimiter := coalesce(said[1],
        (SELECT d.d FROM unnest(ARRAY[',', ';', E'\t']) WITH ORDINALITY AS d (d, place)
                                    ORDER BY length(first) - length(replace(first, d.d, '')) DESC,
                                        d.place
                                        LIMIT 1));
    content := content || E'\n';
    line := now;
    fields := '{}';
    FOR found IN SELECT m.part, length(m.part[1]) + length(m.part[4]) AS size
        FROM regexp_matches(content,
            format(E'(%s|([^"%s\n][^%s\n]*)?)([%s\n])', quoted, delimiter, delimiter, delimiter),
            'g') AS m (part)
    LOOP
        -- something did not match the pattern
        EXIT WHEN substr(content, read + 1, found.size) <> found.part[1] || found.part[4];
        read := read + found.size;
        fields := fields
            || CASE
                WHEN found.part[2] IS NOT NULL THEN replace(found.part[2], '""', '"')
                ELSE btrim(coalesce(found.part[3], '')) END;
        now := now + length(found.part[1]
            || found.part[4]) - length(replace(found.part[1] || found.part[4], E'\n', ''));
        IF found.part[4] = E'\n' THEN
            IF array_to_string(fields, '') <> '' THEN
                RETURN NEXT;
            END IF;
            line := now;
            fields := '{}';
        END IF;
    END LOOP;
    IF read < length(content) THEN
        RAISE EXCEPTION 'line %: a quotation mark is not where one can be', now
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'A quoted field begins and ends with ", and each " inside it is doubled.';
    END IF;
END
$$;

-- The kinds of the columns by the first line, or NULL if that line already is a student's. An
-- unknown heading is refused, so that it is not misunderstood.
CREATE FUNCTION gan_csv_kinds(headings text[]) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, @extschema@, pg_temp AS $$
DECLARE
    kinds text[] := (SELECT array_agg(coalesce(gan_csv_kind(h.heading), '') ORDER BY h.place)
        FROM unnest(headings) WITH ORDINALITY AS h (heading, place));
    unknown text[] := (SELECT array_agg(quote_literal(left(h.heading, 40)))
        FROM unnest(headings) AS h (heading)
        WHERE gan_csv_kind(h.heading) IS NULL);
    twice text := (SELECT k.kind
        FROM unnest(kinds) AS k (kind)
        WHERE k.kind NOT IN ('', 'unused', 'secret')
        GROUP BY k.kind
        HAVING count(*) > 1
        LIMIT 1);
    known text := 'Headings that are used: login (or username), email, name, first name, last '
        'name, nickname. Ignored: password, group, ID number and the like.';
BEGIN
    -- "fritz,Nick", "lea,Class" and "team1" are students: a line of headings names at least a name,
    -- an address or a password.
    IF NOT kinds && ARRAY['login', 'email', 'name', 'first', 'last', 'secret']
        AND ('' = ANY (kinds) OR cardinality(kinds) = 1) THEN
        RETURN NULL;
    END IF;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'the first line has an unknown heading: %', array_to_string(unknown, ', ')
            USING ERRCODE = 'invalid_parameter_value', HINT = known;
    ELSIF twice IS NOT NULL THEN
        RAISE EXCEPTION 'the first line has two columns for the same thing: %', twice
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Take one of them out. ' || known;
    ELSIF NOT kinds && ARRAY['login', 'email', 'name', 'first', 'last'] THEN
        RAISE EXCEPTION 'the first line names no column that a login could come from'
            USING ERRCODE = 'invalid_parameter_value', HINT = known;
    END IF;
    RETURN kinds;
END
$$;

-- Enrols a class from the text of a CSV file (docs/views.md describes the columns). All students
-- are enrolled, or none is. An enrolled student keeps the password (the column connection is
-- NULL then; gan_enroll gives a new one), so a file can be used again after students were added to
-- it. Runs with the caller's rights, as gan_enroll does.
CREATE FUNCTION gan_enroll_csv(csv text, host text DEFAULT NULL)
    RETURNS TABLE (login text, nickname text, connection text)
    LANGUAGE plpgsql SET search_path = pg_catalog, @extschema@, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    hosts text := gan_uri_hosts(coalesce(host, gan_own_address()));
    kinds text[];
    row_read record;
    begun boolean := false;
    given text;
    seen text[] := '{}';
BEGIN
    FOR row_read IN SELECT f.line, f.fields FROM gan_csv_fields(csv) f LOOP
        IF NOT begun THEN
            begun := true;
            kinds := gan_csv_kinds(row_read.fields);
            CONTINUE WHEN kinds IS NOT NULL;
            kinds := ARRAY['login', 'nickname'];
        END IF;
        BEGIN
            IF cardinality(row_read.fields) > cardinality(kinds) THEN
                RAISE EXCEPTION 'there are % fields, but % columns', cardinality(row_read.fields),
                    cardinality(kinds)
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            given := gan_csv_name(kinds, row_read.fields);
            login := gan_login_of(given);
            nickname := nullif(row_read.fields[array_position(kinds, 'nickname')], '');
            nickname := regexp_replace(nickname, '^([^,]+), ?([^,]+)$', E'\\2 \\1');
            IF login = ANY (seen) THEN
                RAISE EXCEPTION 'login "%" stands on an earlier line as well', login
                    USING ERRCODE = 'duplicate_object';
            END IF;
            seen := seen || login;
            connection := CASE
                WHEN NOT EXISTS (SELECT
                    FROM gan_roster k
                    WHERE k.login = login
                        AND k.may_log_in) THEN gan_enroll_student(login, hosts) END;
            IF nickname IS NOT NULL THEN
                PERFORM gan_set_nickname(login::name, nickname);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE EXCEPTION 'line %: %', row_read.line, SQLERRM USING ERRCODE = SQLSTATE,
                HINT = format('%sNobody of the file was enrolled.',
                    CASE
                        WHEN given IS NOT NULL THEN format('The line is that of %s. ',
                            quote_literal(left(given, 64)))
                        ELSE '' END);
        END;
        RETURN NEXT;
    END LOOP;
    IF host IS NULL THEN
        PERFORM gan_note_local_address();
    END IF;
END
$$;

-- The name of a line's student: from the login column, else the e-mail column, else the names.
CREATE FUNCTION gan_csv_name(kinds text[], fields text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text := (SELECT k.kind
        FROM unnest(ARRAY['login', 'email', 'name']) WITH ORDINALITY AS k (kind, place)
        WHERE k.kind = ANY (kinds)
        ORDER BY k.place
        LIMIT 1);
    given text := CASE WHEN kind IS NOT NULL THEN fields[array_position(kinds, kind)]
                       ELSE concat_ws(' ', nullif(fields[array_position(kinds, 'first')], ''),
                           nullif(fields[array_position(kinds, 'last')], '')) END;
BEGIN
    IF coalesce(given, '') = '' THEN
        RAISE EXCEPTION 'the column % is empty', coalesce(kind, 'first name, last name')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN given;
END
$$;

COMMENT ON FUNCTION gan_enroll_csv(text, text)
    IS 'Enrols a class from the text of a CSV file (login, nickname); returns the connection '
        'strings';
