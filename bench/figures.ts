/** The middle value; 0 for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** A row of the table the bench prints. */
export interface Row {
  readonly what: string;
  readonly figure: string;
  readonly budget: string;
  /** Beside a floor measured in the same run: what the machine needs for the one thing that cannot be left out. */
  readonly ratio: string;
}

export function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(2)} ms` : `${Math.round(value)} ms`;
}

export function perSecond(value: number): string {
  return `${Math.round(value).toLocaleString('en')}/s`;
}

export function times(value: number, floor: number, name: string): string {
  return `${(value / floor).toFixed(2)} × ${name}`;
}

/** Prints rows as a table with columns as wide as they need to be. */
export function printTable(rows: readonly Row[]): void {
  const table = [{ what: 'what', figure: 'figure', budget: 'budget', ratio: 'beside the floor' }, ...rows];
  const width = (column: keyof Row): number => Math.max(...table.map((row) => row[column].length));
  const widths = { what: width('what'), figure: width('figure'), budget: width('budget') };
  for (const row of table) {
    console.log(
      `${row.what.padEnd(widths.what)}  ${row.figure.padStart(widths.figure)}  ${row.budget.padStart(widths.budget)}  ${row.ratio}`,
    );
  }
}
