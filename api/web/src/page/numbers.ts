// Figures for people.

const whole = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });

export const tokens = (count: number) => whole.format(count);

export const dollars = (cents: number) => `$${(cents / 100).toFixed(2)}`;

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(1)} kB`;
  return `${(count / 1024 / 1024).toFixed(1)} MB`;
}

/** How long until then, in the largest unit that fits. */
export function until(moment: string): string {
  const minutes = Math.max(0, Math.round((Date.parse(moment) - Date.now()) / 60_000));
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

export const moment = (utc: string) =>
  new Date(utc).toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'short' });
