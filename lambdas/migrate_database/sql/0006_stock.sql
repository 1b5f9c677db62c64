-- How often what can be had has changed, so that whoever remembers what can't be had sees that it did.
-- A counter, not a time: its row is locked until the change is committed, so numbers come in the order of commits.
CREATE TABLE stock (
    is_the_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_the_only_row),
    number bigint NOT NULL DEFAULT 1,
    -- The number of the last change after which everything has to be read again: what was deleted can't be.
    read_all_from bigint NOT NULL DEFAULT 1
);
INSERT INTO stock DEFAULT VALUES;

-- The number of the change that an item was written by last; none before there were numbers. Not required, because
-- a loader that doesn't know the column makes a temporary table LIKE this one.
ALTER TABLE items ADD COLUMN stock_number bigint;
CREATE INDEX items_by_stock_number ON items (stock_number);
CREATE INDEX items_unavailable ON items (item_id) WHERE NOT available;

CREATE FUNCTION count_stock_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE stock SET number = number + 1,
        read_all_from = CASE WHEN TG_OP IN ('DELETE', 'TRUNCATE') THEN number + 1 ELSE read_all_from END;
    RETURN NULL;
END
$$;

CREATE FUNCTION number_stock_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    SELECT number INTO NEW.stock_number FROM stock;
    RETURN NEW;
END
$$;

CREATE TRIGGER count_change BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON items
FOR EACH STATEMENT EXECUTE FUNCTION count_stock_change();
CREATE TRIGGER number_change BEFORE INSERT OR UPDATE ON items
FOR EACH ROW EXECUTE FUNCTION number_stock_change();
