{# A model's schema is what its configuration says, without the target's name in front: stream and warehouse share relation names. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
