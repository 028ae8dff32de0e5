// Which colours: the system's, light or dark. The choice is kept in the browser; page/head.js applies it before the first paint.
export default {
  data: () => ({ theme: document.documentElement.dataset.theme || "system" }),
  watch: {
    theme(chosen) {
      window.mliotTheme(chosen);
    },
  },
  template: `
    <label class="theme"><span class="hidden">Colours</span>
      <select v-model="theme" aria-label="Colours">
        <option value="system">System colours</option><option value="light">Light</option><option value="dark">Dark</option>
      </select>
    </label>`,
};
