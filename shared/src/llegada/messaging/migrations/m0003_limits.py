"""Rate limits, reserved slots and circuit breakers: shared by all replicas of a service, asked in one round trip."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "messaging_0003", "messaging_0002", None, None


def upgrade() -> None:
    op.execute("""
        create table rate_limits (
            key     text primary key,
            free_at timestamptz not null
        ) with (fillfactor = 50);
        comment on table rate_limits is 'When the next call would be on time; a burst runs ahead of it';

        create table slots (
            subscriber text not null,
            message_id uuid not null,
            key        text not null,
            at         timestamptz not null,
            primary key (subscriber, message_id, key)
        );
        comment on table slots is 'When a delivery that waits may call: reserved once, kept while it waits';

        create table breakers (
            key         text primary key,
            failures    integer not null,
            trips       integer not null default 0,
            open_until  timestamptz,
            probe_until timestamptz
        );
        comment on column breakers.failures is 'In a row; a success sets it to 0';
        comment on column breakers.probe_until is 'Until then one delivery tries whether the provider answers again';

        create function enter(
            p_subscriber text, p_message_id uuid, p_breaker text, p_keys text[], p_gaps interval[],
            p_ahead interval[],
            out wait interval, out cause text, out failures integer
        ) language plpgsql as $$
        declare
            t timestamptz := clock_timestamp();
            slot timestamptz;
            breaker breakers%rowtype;
        begin
            wait := interval '0';
            select * into breaker from breakers b where b.key = p_breaker;
            failures := coalesce(breaker.failures, 0);
            if breaker.open_until is not null then
                if breaker.open_until > t then
                    wait := breaker.open_until - t;
                    cause := 'open';
                    return;
                end if;
                update breakers b set probe_until = t + interval '60 seconds'
                where b.key = p_breaker and (b.probe_until is null or b.probe_until < t);
                if not found then
                    wait := interval '2 seconds';
                    cause := 'open';
                    return;
                end if;
            end if;
            for i in 1 .. cardinality(p_keys) loop
                slot := null;
                select s.at into slot from slots s
                where s.subscriber = p_subscriber and s.message_id = p_message_id and s.key = p_keys[i];
                if slot is null then
                    insert into rate_limits as r (key, free_at) values (p_keys[i], t + p_gaps[i])
                    on conflict (key) do update set free_at = greatest(r.free_at, t) + p_gaps[i]
                    returning r.free_at - p_gaps[i] - p_ahead[i] into slot;
                    if slot > t then
                        insert into slots (subscriber, message_id, key, at)
                        values (p_subscriber, p_message_id, p_keys[i], slot);
                    end if;
                end if;
                if slot > t then
                    wait := slot - t;
                    cause := 'limit';
                    update breakers b set probe_until = null where b.key = p_breaker and b.probe_until is not null;
                    return;
                end if;
            end loop;
            delete from slots s where s.subscriber = p_subscriber and s.message_id = p_message_id;
        end $$;
    """)
