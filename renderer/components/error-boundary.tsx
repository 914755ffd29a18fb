import { Component, type ReactNode } from 'react';
import { text } from '../strings/text.ts';
import { Button } from './button.tsx';
import { CodeBlock } from './copy.tsx';
import { Details, EmptyState } from './page.tsx';

interface Props {
  /** What it was that stumbled; something else gets its own chance. */
  readonly of?: string;
  readonly children: ReactNode;
}

/** Keeps a fault in one page from taking the others with it. */
export class ErrorBoundary extends Component<Props, { error: Error | undefined }> {
  override state: { error: Error | undefined } = { error: undefined };

  static getDerivedStateFromError(error: unknown): { error: Error } {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override componentDidUpdate(before: Props): void {
    if (before.of !== this.props.of && this.state.error !== undefined) this.setState({ error: undefined });
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div className="page">
        <EmptyState
          icon="warning"
          title={text('boundary.title')}
          action={
            <Button kind="primary" icon="refresh" onPress={() => this.setState({ error: undefined })}>
              {text('common.try-again')}
            </Button>
          }
        >
          {text('boundary.text')}
        </EmptyState>
        <Details summary={text('common.details')}>
          <CodeBlock title={error.name} code={error.stack ?? error.message} />
        </Details>
      </div>
    );
  }
}
