import type { ReactNode } from 'react';
import { Tab, TabList, TabPanel, Tabs as AriaTabs } from 'react-aria-components';

export interface TabPage {
  readonly id: string;
  readonly title: ReactNode;
  readonly content: ReactNode;
}

/** Several pages in one place. */
export function Tabs({ label, tabs }: { label: string; tabs: readonly TabPage[] }): ReactNode {
  return (
    <AriaTabs>
      <TabList aria-label={label} className="tab-list">
        {tabs.map(({ id, title }) => (
          <Tab key={id} id={id} className="tab">
            {title}
          </Tab>
        ))}
      </TabList>
      {tabs.map(({ id, content }) => (
        <TabPanel key={id} id={id} className="tab-panel">
          {content}
        </TabPanel>
      ))}
    </AriaTabs>
  );
}
