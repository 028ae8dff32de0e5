// Draws what dashboard/view/charts.py has laid out. Points are links to their traces; a label is a ring beside its prediction.
export default {
  props: { chart: Object, width: Number, height: Number },
  template: `
    <figure class="chart">
      <figcaption>
        <span class="name">{{ chart.title }}</span>
        <span v-if="chart.has_labels" class="legend">
          <i class="key line" aria-hidden="true"></i>predicted <i class="key ring" aria-hidden="true"></i>label
        </span>
        <span class="span">{{ chart.span }}</span>
      </figcaption>
      <div class="plot">
        <div class="edges"><span>{{ chart.top }}</span><span>{{ chart.bottom }}</span></div>
        <svg :viewBox="'0 0 ' + width + ' ' + height" role="img" :aria-label="chart.summary">
          <path class="edge" :d="'M0 .5H' + width + 'M0 ' + (height - .5) + 'H' + width" />
          <path v-if="chart.band" class="band" :d="chart.band" />
          <path class="line" :d="chart.line" />
          <a v-for="mark in chart.marks" :key="mark.href" :href="mark.href" tabindex="-1">
            <title>{{ mark.text }}</title>
            <rect class="hit" :x="mark.x - 3" y="0" width="6" :height="height" />
            <circle v-if="mark.label_y != null" class="ring" :cx="mark.x" :cy="mark.label_y" r="2.3" />
            <circle class="dot" :cx="mark.x" :cy="mark.y" r="1.7" />
          </a>
        </svg>
      </div>
    </figure>`,
};
