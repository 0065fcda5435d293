// Starts the page.

import { mount } from 'svelte';
import 'uplot/dist/uPlot.min.css';
import './style/tokens.css';
import './style/base.css';
import App from './view/App.svelte';

const target = document.getElementById('app');
if (target === null) throw new Error('index.html has no #app');
mount(App, { target });
