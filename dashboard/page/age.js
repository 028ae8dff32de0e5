// An age that ticks in the browser, by the server's clock. One interval serves all ages of the page.
const ages = new Set();
setInterval(() => ages.forEach((age) => age.tick()), 1000);

function serverNow() {
  return Date.now() + (window.mliotSkewMs || 0);
}

function span(seconds) {
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export default {
  props: { at: Number, oldAfter: Number },
  data: () => ({ now: serverNow() }),
  mounted() {
    ages.add(this);
  },
  unmounted() {
    ages.delete(this);
  },
  updated() {
    this.tick();
  },
  methods: {
    tick() {
      this.now = serverNow();
    },
  },
  computed: {
    seconds() {
      return Math.floor((this.now - this.at) / 1000);
    },
    isOld() {
      return this.oldAfter != null && this.now - this.at > this.oldAfter;
    },
    words() {
      if (this.seconds < -2) return `${span(-this.seconds)} ahead`;
      return this.seconds < 1 ? "now" : `${span(this.seconds)} ago`;
    },
    instant() {
      return new Date(this.at);
    },
  },
  template: `
    <time v-if="at != null" class="age" :class="{ old: isOld }" :datetime="instant.toISOString()" :title="instant.toLocaleString()">
      <span v-if="isOld" class="flag">old</span>{{ words }}</time>`,
};
