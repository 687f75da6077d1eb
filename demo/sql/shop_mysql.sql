-- The same shop for MariaDB and MySQL. @names@ are replaced by row counts.
-- Not a change that anybody should capture, and faster so.
set session sql_log_bin = 0, unique_checks = 0, foreign_key_checks = 0;
create database scratch;
create database shop character set utf8mb4;
use shop;
set session time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES', autocommit = 1;

create table scratch.thousand (i int primary key);
insert into scratch.thousand
select a.d + 10 * b.d + 100 * c.d
from (select 0 d union select 1 union select 2 union select 3 union select 4
      union select 5 union select 6 union select 7 union select 8 union select 9) a,
     (select 0 d union select 1 union select 2 union select 3 union select 4
      union select 5 union select 6 union select 7 union select 8 union select 9) b,
     (select 0 d union select 1 union select 2 union select 3 union select 4
      union select 5 union select 6 union select 7 union select 8 union select 9) c;
create view scratch.numbers as
select a.i * 1000 + b.i + 1 as i from scratch.thousand a join scratch.thousand b;

create table customers (
    id bigint not null auto_increment primary key,
    email varchar(120) not null unique,
    name varchar(80) not null,
    city varchar(60),
    born date,
    balance decimal(14, 2) not null default 0,
    rating double,
    preferences json,
    tags set('new', 'vip', 'blocked', 'é'),
    avatar blob,
    joined_at timestamp(6) not null default current_timestamp(6)
);

create table products (
    sku varchar(24) character set utf8mb4 collate utf8mb4_bin not null primary key,
    title text not null,
    price decimal(12, 4) not null,
    mass decimal(38, 10),
    attributes json not null,
    ean char(36),
    stock int unsigned not null,
    changed_at datetime(6) not null
);

create table orders (
    id bigint not null auto_increment primary key,
    customer_id bigint not null,
    status enum('new', 'paid', 'sent', 'returned') not null default 'new',
    placed_at timestamp(6) not null default current_timestamp(6),
    shipped_on date,
    total decimal(14, 2) not null,
    note text,
    constraint orders_customer_fk foreign key (customer_id) references customers (id)
);

create table order_lines (
    order_id bigint not null,
    line int not null,
    sku varchar(24) character set utf8mb4 collate utf8mb4_bin not null,
    quantity int not null,
    price decimal(12, 4) not null,
    gift tinyint(1) not null default 0,
    primary key (order_id, line),
    constraint lines_order_fk foreign key (order_id) references orders (id),
    constraint lines_sku_fk foreign key (sku) references products (sku)
);

create table visits ( -- no key at all, and rows that occur twice
    seen_at timestamp(6) not null default current_timestamp(6),
    session char(36) not null,
    path varchar(200) not null,
    referrer varchar(200),
    millis int unsigned not null,
    payload varbinary(200)
);

insert into customers (email, name, city, born, balance, rating, preferences, tags, avatar, joined_at)
select
    concat('c', i, '@example.test'),
    elt(i % 15 + 1, 'Zoë Müller', 'O''Brien', 'back\slash', concat('tab', char(9 using utf8mb4), 'here'),
        concat('new', char(10 using utf8mb4), 'line'), '山田 太郎', '🦆 Duck', '', 'NULL', '\N',
        '"quoted"', 'a, b; c | d', 'Ωμέγα', 'مرحبا', '%s {0} $1'),
    if(i % 7 > 0, elt(i % 5 + 1, 'Łódź', 'São Paulo', 'Kraków', 'Reykjavík', 'null'), null),
    if(i % 11 > 0, date_add('1930-01-01', interval i % 28000 day), null),
    (i % 100000) / 100 - 300,
    case i % 9 when 0 then null when 1 then -0.5 when 2 then 1e300 when 3 then 0.0625 else i / 8 end,
    if(i % 5 > 0, json_object('n', i, 'quote', concat('"', i, '\'), 'deep', json_array(null, i, 'é')), null),
    elt(i % 6 + 1, null, '', 'new', 'vip,blocked', 'new,é', 'blocked'),
    if(i % 4 > 0, concat(unhex(left(sha2(i, 256), 32)), x'00ff0a5c'), null),
    date_add('2019-12-31 23:59:59.999999', interval i * 97000301 microsecond)
from scratch.numbers where i <= @customers@;

insert into products
select
    concat('SKU-', lpad(i, 6, '0')),
    concat('Product №', i, elt(i % 5 + 1, ' "deluxe"', ' (50% off)', '', ' \ 2', ' naïve')),
    (i % 90000) / 7,
    if(i % 3 > 0, 12345678901234567890.123456789 / i, null),
    json_object('colour', elt(i % 3 + 1, 'red', 'grün', '青'), 'sizes', json_array(i % 7, i % 5)),
    if(i % 10 > 0, insert(insert(insert(insert(left(sha2(concat('ean', i), 256), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-'), null),
    4294967295 - i,
    date_add('2024-02-29 12:00:00', interval i * 13500 * 1000 microsecond)
from scratch.numbers where i <= @products@;

insert into orders (customer_id, status, placed_at, shipped_on, total, note)
select
    1 + i * 7919 % @customers@,
    elt(i % 4 + 1, 'new', 'paid', 'sent', 'returned'),
    date_add('2023-03-26 00:30:00', interval i * 61250 * 1000 microsecond),
    if(i % 4 > 1, date_add('2023-03-26', interval i div 1400 day), null),
    (i % 50000) / 100,
    elt(i % 20 + 1, 'ring twice; it''s the 2nd door', concat('line 1', char(13, 10 using utf8mb4), 'line 2\'), '')
from scratch.numbers where i <= @orders@;

insert into order_lines
select
    o.i, l.i,
    concat('SKU-', lpad(1 + (o.i * 31 + l.i * 17) % @products@, 6, '0')),
    1 + (o.i + l.i) % 9,
    ((o.i * l.i) % 90000) / 7,
    (o.i + l.i) % 13 = 0
from scratch.numbers o straight_join (select 1 i union select 2 union select 3 union select 4) l
where o.i <= @orders@ and l.i <= 1 + o.i % 4;

insert into visits
select
    date_add('2025-10-26 00:59:00', interval (i div 2) * 750 * 1000 microsecond),
    insert(insert(insert(insert(left(sha2(concat('session', i div 20), 256), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-'),
    concat('/shop/', i % 997, '?q=%C3%A9&x=', i % 3),
    if(i % 3 > 0, concat('https://example.test/', i % 50), null),
    i % 4000,
    if(i % 50 = 0, unhex(repeat(sha2(i, 256), 2)), null)
from scratch.numbers where i <= @visits@;

create index orders_customer on orders (customer_id);
create index orders_placed on orders (placed_at);
create index lines_sku on order_lines (sku);
create unique index customers_name on customers (name, id);
drop database scratch;
