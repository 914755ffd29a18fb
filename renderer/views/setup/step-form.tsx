import type { ReactNode } from 'react';
import { Form } from 'react-aria-components';

/** The questions of a step, with the ways on and back below them. */
export function StepForm({
  onSubmit,
  foot,
  children,
}: {
  onSubmit: () => unknown;
  foot: ReactNode;
  children: ReactNode;
}): ReactNode {
  return (
    <Form
      className="stack wide"
      onSubmit={(event) => {
        event.preventDefault();
        void onSubmit();
      }}
    >
      {children}
      <div className="setup-foot">{foot}</div>
    </Form>
  );
}
