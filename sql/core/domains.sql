-- -------------------------------------------------------------------------------------------------
-- What a unit's columns may hold
-- -------------------------------------------------------------------------------------------------
-- A domain's CHECK is looked at when a value is stored, and prepared once a session. A CHECK of the
-- table is read and planned again by every statement that writes a row, so by every claim.

CREATE DOMAIN gan_unit_state AS text
    CHECK (VALUE IN ('pending', 'claimed', 'done', 'beaten', 'aside', 'checked'));
CREATE DOMAIN gan_count AS int CHECK (VALUE >= 0);
CREATE DOMAIN gan_position AS bigint CHECK (VALUE >= 0);
CREATE DOMAIN gan_unit_images AS int CHECK (VALUE BETWEEN 1 AND 65536);
CREATE DOMAIN gan_batch AS int CHECK (VALUE BETWEEN 1 AND 4096);
CREATE DOMAIN gan_factor AS float8 CHECK (VALUE BETWEEN 0 AND 1);
-- These bounds keep sums, means and views of the numbers from overflow and underflow: gan_plain.
CREATE DOMAIN gan_loss AS float8 CHECK (VALUE = 0 OR VALUE BETWEEN 1e-30 AND 1e6);
CREATE DOMAIN gan_share AS float8 CHECK (VALUE = 0 OR VALUE BETWEEN 1e-30 AND 1);
