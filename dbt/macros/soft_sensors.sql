{#
  Quantities that no sensor measures but that follow from air temperature (°C) and relative humidity (%).
  Null where either is missing, and for the dew point where humidity is 0.
#}

{# Dew point in °C: Magnus form with the constants of Alduchov & Eskridge (1996), Improved Magnus form approximation of saturation vapor pressure. #}
{% macro dew_point(temperature, humidity) -%}
    {%- set gamma -%}
        (ln(nullif({{ humidity }}, 0) / 100) + 17.625 * {{ temperature }} / (243.04 + {{ temperature }}))
    {%- endset -%}
    243.04 * {{ gamma }} / (17.625 - {{ gamma }})
{%- endmacro %}

{# Saturation vapour pressure over water in hPa, of the same source. #}
{% macro saturation_vapour_pressure(temperature) -%}
    6.1094 * exp(17.625 * {{ temperature }} / (243.04 + {{ temperature }}))
{%- endmacro %}

{# Vapour-pressure deficit in kPa: how much more water the air could take up. #}
{% macro vapour_pressure_deficit(temperature, humidity) -%}
    0.1 * {{ saturation_vapour_pressure(temperature) }} * (1 - {{ humidity }} / 100)
{%- endmacro %}

{# Absolute humidity in g/m³: the ideal gas law with the specific gas constant of water vapour, 461.5 J/(kg K). #}
{% macro absolute_humidity(temperature, humidity) -%}
    100000 * {{ saturation_vapour_pressure(temperature) }} * {{ humidity }} / 100 / (461.5 * (273.15 + {{ temperature }}))
{%- endmacro %}
