// A configuration while it is edited: as fields or as text, what is wrong with it, and what the proxy said of it.

import { SvelteSet } from 'svelte/reactivity';
import type { JsonObject } from '../../api/contract';
import { keyOf, parseConfig, read, readValue, type Path, type Reading } from '../../form/check';
import { draftOf, pretty, type Draft } from '../../form/draft';
import { locate } from '../../form/locate';
import { formOf, type Field } from '../../form/schema';

export type View = 'form' | 'json';

export class ConfigForm {
  readonly field: Field;
  /** A form can be drawn: there is a schema, and it describes an object. */
  readonly drawable: boolean;
  readonly begun: JsonObject;
  view = $state<View>('form');
  draft = $state() as Draft;
  text = $state('');
  /** Every problem is shown from the first try on; before that only those of fields that were left. */
  tried = $state(false);
  /** What the proxy refused, and the place that it named. */
  refusal = $state.raw<{ message: string; param: string | null; key: string | null } | null>(null);
  readonly #left = new SvelteSet<string>();

  readonly reading = $derived.by<Reading>(() => read(this.field, this.draft));
  readonly typed = $derived.by(() => parseConfig(this.text));

  constructor(schema: JsonObject | null, config: JsonObject) {
    this.field = formOf(schema ?? {});
    this.drawable = schema !== null && this.field.kind === 'group';
    this.begun = config;
    this.draft = draftOf(this.field, config);
    this.text = pretty(config);
    if (!this.drawable) this.view = 'json';
  }

  /** What would be sent; null while something is wrong. */
  get config(): JsonObject | null {
    if (this.view === 'form') return this.reading.problems.size === 0 ? (this.reading.value as JsonObject) : null;
    return 'config' in this.typed && this.typedProblems.length === 0 ? this.typed.config : null;
  }

  /** What stands there now, right or wrong; null while the text is no JSON object. */
  get standing(): JsonObject | null {
    if (this.view === 'form') return (this.reading.value as JsonObject | undefined) ?? {};
    return 'config' in this.typed ? this.typed.config : null;
  }

  /** What is wrong with the text, a sentence each. */
  get typedProblems(): string[] {
    if ('problem' in this.typed) return [this.typed.problem];
    if (!this.drawable) return [];
    return [...readValue(this.field, this.typed.config).problems].map(([key, sentence]) => (key === '' ? sentence : `${key.slice(1).replaceAll('/', '.')}: ${sentence}`));
  }

  /** Changes between fields and text; false when the text is none that fields can show. */
  look(view: View): boolean {
    if (view === this.view) return true;
    if (view === 'json') this.text = pretty((this.reading.value as JsonObject | undefined) ?? {});
    else if ('config' in this.typed) this.draft = draftOf(this.field, this.typed.config);
    else {
      this.tried = true;
      return false;
    }
    this.view = view;
    return true;
  }

  left(path: Path): void {
    this.#left.add(keyOf(path));
  }

  /** The sentence that stands under a field, if any. */
  problemAt(path: Path): string | null {
    const key = keyOf(path);
    if (this.refusal?.key === key) return this.refusal.message;
    return this.tried || this.#left.has(key) ? (this.reading.problems.get(key) ?? null) : null;
  }

  refused(message: string, param: string | null): void {
    const place = this.view === 'form' ? locate(param, this.draft) : null;
    this.refusal = { message, param, key: place === null || place.length === 0 ? null : keyOf(place) };
  }

  idOf(path: Path): string {
    return `config${encodeURIComponent(keyOf(path)).replaceAll('%', '_')}`;
  }
}
