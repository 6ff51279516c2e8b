/** Numbers of a chart's axes: round ones, a few of them. */

/** The least round number that is not below a value: 1, 2 or 5 times a power of ten. */
export function ceiling(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= value * 0.999) ?? 10;
  return step * power;
}

/** Lines of the vertical axis, from 0 up to the first one that is not below the largest value. */
export function ticks(most: number, lines: number): number[] {
  const step = ceiling(most / lines);
  const needed = Math.max(1, Math.ceil(most / step - 0.001));
  return Array.from({ length: needed + 1 }, (_, index) => index * step);
}

/** A few places of a list, evenly apart. */
export function places(length: number, most: number): number[] {
  if (length <= 1) return length === 1 ? [0] : [];
  const needed = Math.min(length, Math.max(2, most));
  return Array.from({ length: needed }, (_, index) => Math.round((index * (length - 1)) / (needed - 1)));
}

/** Rows for who hears a chart and does not see it: at most so many groups of neighbours, each with its first place. */
export function groups<R>(rows: readonly R[], most: number): { first: R; rows: R[] }[] {
  const size = Math.max(1, Math.ceil(rows.length / most));
  const found: { first: R; rows: R[] }[] = [];
  for (let start = 0; start < rows.length; start += size) {
    const group = rows.slice(start, start + size);
    const first = group[0];
    if (first !== undefined) found.push({ first, rows: group });
  }
  return found;
}
