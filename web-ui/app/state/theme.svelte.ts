// Remembers which theme the operator chose. `public/theme.js` applies it before the first paint.

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'headworks.theme';

class ThemeChoice {
  theme = $state<Theme>(read());
  /** Moves whenever the colours on the page may have: charts draw with resolved colours and must draw anew. */
  painted = $state(0);

  constructor() {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.painted += 1));
  }

  choose(theme: Theme): void {
    this.theme = theme;
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // Storage is switched off: the choice lives as long as the page.
    }
    this.painted += 1;
  }
}

function read(): Theme {
  const chosen = document.documentElement.dataset.theme;
  return chosen === 'dark' || chosen === 'light' ? chosen : 'system';
}

export const themeChoice = new ThemeChoice();
