// Starts the page.

import { mount } from 'svelte';
import 'uplot/dist/uPlot.min.css';
import './style/tokens.css';
import './style/base.css';
import { themeChoice } from './state/theme.svelte';
import App from './view/App.svelte';

const target = document.getElementById('app');
// Charts draw text on a canvas, which does not follow a font that comes late.
void document.fonts.load('11px Plex').then(() => (themeChoice.painted += 1));

if (target === null) throw new Error('index.html has no #app');
mount(App, { target });
