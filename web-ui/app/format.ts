// Turns numbers into the few characters an operator reads: a value, and a unit kept apart so that it can be set lighter.

export interface Quantity {
  value: string;
  unit: string;
}

/** What stands where there is nothing to say. */
export const NONE: Quantity = { value: '–', unit: '' };

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** Three significant digits at most, and never a needless zero after the point's place was given up. */
export function significant(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.95) return WHOLE.format(value);
  if (size >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

export function count(value: number | null | undefined): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size < 99_999.5) return { value: WHOLE.format(value), unit: '' };
  if (size < 999_950) return { value: significant(value / 1e3), unit: 'k' };
  if (size < 999_950_000) return { value: significant(value / 1e6), unit: 'M' };
  return { value: significant(value / 1e9), unit: 'G' };
}

/** A rate: one digit after the point while small, none once it is large. */
export function rate(value: number | null | undefined): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return { value: '0', unit: '' };
  return value < 99.95 ? { value: value.toFixed(1), unit: '' } : count(value);
}

export function milliseconds(value: number | null | undefined): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value < 0.9995) return { value: WHOLE.format(value * 1000), unit: 'µs' };
  if (value < 999.5) return { value: significant(value), unit: 'ms' };
  if (value < 59_995) return { value: significant(value / 1000), unit: 's' };
  return { value: duration(value), unit: '' };
}

export function microseconds(value: number | null | undefined): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value < 999.5 ? { value: WHOLE.format(value), unit: 'µs' } : milliseconds(value / 1000);
}

/** The time of one call, which is mostly around a microsecond: told apart below it too. */
export function callMicroseconds(value: number | null | undefined): Quantity {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value < 999.5 ? { value: value === 0 ? '0' : significant(value), unit: 'µs' } : microseconds(value);
}

/** A share of a thousand, as budgets are written. */
export function perMille(value: number | null): Quantity {
  return value === null ? NONE : { value: value === 0 ? '0' : significant(value).replace(/\.?0+$/, (zeros) => (zeros.startsWith('.') ? '' : zeros)), unit: '‰' };
}

/** A moving average that a replica has not begun yet reads 0: that is no measurement. */
export function averageMicroseconds(value: number): Quantity {
  return value === 0 ? NONE : microseconds(value);
}

export function bytes(value: number): Quantity {
  if (value < 1000) return { value: WHOLE.format(value), unit: 'B' };
  if (value < 999_950) return { value: significant(value / 1e3), unit: 'kB' };
  return { value: significant(value / 1e6), unit: 'MB' };
}

export function permille(value: number): Quantity {
  return { value: (value / 10).toFixed(1), unit: '%' };
}

/** A span in its two largest parts. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How old a reading is; null before the first. Below a second the number would only flicker. */
export function age(ms: number | null): string {
  if (ms === null) return 'never';
  return ms < 1000 ? '< 1 s' : duration(ms);
}

export function ago(ms: number | null): string {
  if (ms === null) return 'never';
  return ms < 1000 ? 'just now' : `${duration(ms)} ago`;
}

/** The first digits of a digest: enough to tell versions apart at a glance. */
export function shortDigest(digest: string): string {
  const hex = digest.startsWith('sha256:') ? digest.slice('sha256:'.length) : digest;
  return hex.slice(0, 12);
}

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** The local time of day, to the millisecond. */
export function timeOfDay(ms: number): string {
  return `${CLOCK.format(ms)}.${String(Math.floor(ms) % 1000).padStart(3, '0')}`;
}

/** The whole local date and time with its offset, for the detail view. */
export function moment(ms: number): string {
  const date = new Date(ms);
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? '-' : '+';
  const pad = (value: number) => String(Math.floor(Math.abs(value))).padStart(2, '0');
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day} ${timeOfDay(ms)} ${sign}${pad(offset / 60)}:${pad(offset % 60)}`;
}

export function text(quantity: Quantity): string {
  return quantity.unit === '' ? quantity.value : `${quantity.value} ${quantity.unit}`;
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${WHOLE.format(number)} ${number === 1 ? one : many}`;
}
