select *
from {{ ref('stg_frames') }}
qualify row_number() over (partition by frame_id order by kafka_partition, kafka_offset) = 1
