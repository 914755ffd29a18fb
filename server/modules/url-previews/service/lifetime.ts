const HOUR_MS = 60 * 60_000;
/** What says that it must not be kept is kept for so long all the same: a link that is sent to many is asked for at once. */
const SHORTEST_MS = 60_000;

/** How long a preview is good, ms: an hour, or less where the page says so (RFC 9111, sections 5.2 and 5.3). */
export function lifetimeOf(headers: Readonly<Record<string, string | undefined>>, now: number): number {
  const control = headers['cache-control']?.toLowerCase() ?? '';
  if (/(?:^|,)\s*(?:no-store|no-cache)\b/.test(control)) return SHORTEST_MS;
  const seconds = /(?:^|,)\s*max-age\s*=\s*"?(\d{1,12})/.exec(control)?.[1];
  if (seconds !== undefined) return clamp(Number(seconds) * 1_000);
  const expires = Date.parse(headers['expires'] ?? '');
  return Number.isNaN(expires) ? HOUR_MS : clamp(expires - now);
}

/** Neither longer nor shorter than a preview may be good, ms. */
export function clamp(ms: number): number {
  return Math.min(HOUR_MS, Math.max(SHORTEST_MS, ms));
}
