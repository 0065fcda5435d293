// The moment under the pointer, shared by all charts so that they speak of the same second.

class Cursor {
  /** Index into the points shown; null while no chart is pointed at. */
  index = $state.raw<number | null>(null);
}

export const cursor = new Cursor();
