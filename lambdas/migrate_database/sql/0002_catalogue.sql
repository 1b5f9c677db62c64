-- What the shop sells, as the latest catalogue has it and as the shop has changed it since.
CREATE TABLE items (
    item_id text PRIMARY KEY,
    category_id text,
    available boolean NOT NULL DEFAULT true,
    attributes jsonb NOT NULL DEFAULT '{}',
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX items_by_category ON items (category_id);

CREATE TABLE categories (
    category_id text PRIMARY KEY,
    parent_id text
);

-- Every catalogue that was loaded; the latest of them is what `items` began with.
CREATE TABLE catalogues (
    version text PRIMARY KEY,
    as_of timestamptz NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);
