import type { ReactNode } from 'react';

export interface SubPage {
  readonly href: string;
  readonly title: string;
  readonly isCurrent: boolean;
  /** How many things wait there. */
  readonly count?: number | undefined;
}

/** The pages within a page. */
export function SubNav({ label, pages }: { label: string; pages: readonly SubPage[] }): ReactNode {
  return (
    <nav aria-label={label} className="sub-nav">
      {pages.map(({ href, title, isCurrent, count = 0 }) => (
        <a key={href} href={href} {...(isCurrent ? { 'aria-current': 'page' } : {})}>
          {title}
          {count > 0 && <span className="sub-nav-count">{count}</span>}
        </a>
      ))}
    </nav>
  );
}
