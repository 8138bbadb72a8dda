// Before the first paint, so that a dark room stays dark. A file of its own, because inline scripts
// are forbidden.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem('thymus.theme');
  } catch (_) {
    // Storage may be forbidden; the system decides then.
  }
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen;
})();
