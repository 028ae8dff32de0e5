{# Data tests of a whole model at once: one query each, however many columns; every row that comes back is a failure. #}

{# None of `columns` is null. #}
{% test filled(model, columns) %}
select * from {{ model }}
where {% for column in columns %}"{{ column }}" is null{{ " or " if not loop.last }}{% endfor %}
{% endtest %}

{# Each of `columns` is null or finite. #}
{% test finite(model, columns) %}
select * from {{ model }}
where {% for column in columns %}not isfinite("{{ column }}"){{ " or " if not loop.last }}{% endfor %}
{% endtest %}

{# Readings lie in their measurement's range. `ranges` maps a measurement to [low, high], both allowed. #}
{% test readings_plausible(model, ranges) %}
select * from {{ model }}
where {% for name, ends in ranges.items() -%}
    not "{{ name }}" between {{ ends[0] }} and {{ ends[1] }}{{ " or " if not loop.last }}
{%- endfor %}
{% endtest %}

{# A window's statistics fit together and lie in their measurement's range; `slack` allows for the rounding of a mean. #}
{% test statistics_plausible(model, ranges) %}
{%- set slack = 1e-9 %}
select * from {{ model }}
where {% for name, ends in ranges.items() -%}
    not (
        {{ name }}_count between 0 and frames and ({{ name }}_count = 0) = ({{ name }}_avg is null)
        and coalesce({{ name }}_min >= {{ ends[0] }} and {{ name }}_max <= {{ ends[1] }}, true)
        and coalesce({{ name }}_last between {{ name }}_min and {{ name }}_max, true)
        and coalesce({{ name }}_avg between {{ name }}_min - {{ slack }} * abs({{ name }}_min) and {{ name }}_max + {{ slack }} * abs({{ name }}_max), true)
        and coalesce({{ name }}_stddev between 0 and {{ name }}_max - {{ name }}_min, true)
    ){{ " or " if not loop.last }}
{%- endfor %}
{% endtest %}

{# Windows lie on their grid, hold a frame and bear the id that follows from grain, key and start. #}
{% test windows_on_grid(model, id, window_s) %}
select * from {{ model }}
where end_ms - start_ms != {{ window_s * 1000 }}
    or start_ms % {{ window_s * 1000 }} != 0
    or frames < 1
    or {{ id }} != grain || ':' || key || '@' || start_ms
{% endtest %}

{# Every record's value is a message's JSON object. #}
{% test values_are_objects(model) %}
select * from {{ model }}
where case when json_valid(value) then json_type(value) end is distinct from 'OBJECT'
{% endtest %}

{# A label belongs to the time after its features, and is known no earlier than it is true. #}
{% test label_after_features(model) %}
select * from {{ model }}
where label_ms < end_ms or available_ms < label_ms
{% endtest %}

{# No two rows share `columns`. #}
{% test once(model, columns) %}
select {{ columns | join(', ') }} from {{ model }}
group by all having count(*) > 1
{% endtest %}
