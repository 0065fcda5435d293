// Sets the chosen theme before the first paint, so that a dark page never flashes light. A file of its own: the
// content security policy forbids inline scripts.
try {
  const theme = localStorage.getItem('headworks.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
