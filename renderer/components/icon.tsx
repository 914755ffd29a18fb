import type { ReactNode } from 'react';
import { DRAWINGS, type IconName } from './icon-drawings.ts';

export type { IconName };

/** A line icon; without a label it is for the eye only. */
export function Icon({
  name,
  label,
  className = '',
}: {
  name: IconName;
  label?: string;
  className?: string;
}): ReactNode {
  return (
    <svg
      className={`icon ${className}`}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth={name === 'more' ? 2.8 : 1.75}
      strokeLinecap="round"
      strokeLinejoin="round"
      {...(label === undefined ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label })}
    >
      <path d={DRAWINGS[name]} />
    </svg>
  );
}

/** Hearth's mark, for the eye only. */
export function Logo(): ReactNode {
  return (
    <svg className="logo" viewBox="0 0 64 64" aria-hidden>
      <path
        className="logo-stone"
        fill="light-dark(#4a2b1f, #b98a6c)"
        d="M6 56V30C6 16 17.6 6 32 6s26 10 26 24v26h-9V31c0-9.2-7.4-16-17-16s-17 6.8-17 16v25zM4 56h56v4H4z"
      />
      <path
        fill="#d8622a"
        d="M33.5 22c1.2 6.2 9.5 10.3 9.5 19.4C43 49 38 54 32 54s-11-4.8-11-11.6c0-4.7 2.6-7.6 5-10.4.5 3 1.7 4.7 3.4 5.6C28.6 31.8 30.2 26.5 33.5 22z"
      />
      <path
        fill="#ffe0a8"
        d="M32.4 40c.7 2.9 4.1 4.6 4.1 8.4 0 3.3-2 5.6-4.5 5.6s-4.6-2.1-4.6-5.2c0-3.7 3.7-5.1 5-8.8z"
      />
    </svg>
  );
}
