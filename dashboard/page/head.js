// Runs in the page's head, before anything is painted.
window.mliotTheme = (chosen) => {
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
    localStorage.setItem("mliot-theme", chosen);
  } else {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("mliot-theme");
  }
};
window.mliotTheme(localStorage.getItem("mliot-theme"));
