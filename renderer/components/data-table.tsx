import { type ReactNode, useState } from 'react';
import { locale, text } from '../strings/text.ts';
import { Icon } from './icon.tsx';
import { CheckboxField } from './fields.tsx';

export interface Column<Row> {
  readonly id: string;
  readonly title: string;
  readonly isTitleHidden?: boolean;
  readonly show: (row: Row) => ReactNode;
  /** Numbers and sizes stand at the right. */
  readonly isRight?: boolean;
  /** The one that names the row. */
  readonly isLead?: boolean;
  /** The table can be sorted by this; sorted largest first where it is a number. */
  readonly sortBy?: (row: Row) => number | string;
}

interface DataTableProps<Row> {
  /** What the table holds, for those who do not see it. */
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Sorted by the server: the table only shows and asks. */
  readonly order?: { readonly by: string; readonly onChange: (column: string) => void };
  /** Rows can be chosen, by their keys. */
  readonly chosen?: {
    readonly keys: ReadonlySet<string>;
    readonly onChange: (keys: ReadonlySet<string>) => void;
    readonly nameOf: (row: Row) => string;
  };
}

// The roles are those the elements have of themselves, and lose where a narrow screen lays them out as blocks.

/** Rows of data; on a narrow screen each becomes a small card. Shows nothing of its own where there are none. */
export function DataTable<Row>({ label, columns, rows, keyOf, order, chosen }: DataTableProps<Row>): ReactNode {
  const [sort, setSort] = useState<{ by: string; isReversed: boolean }>();
  const shown =
    sort === undefined
      ? rows
      : sorted(
          rows,
          columns.find(({ id }) => id === sort.by),
          sort.isReversed,
        );
  const press = (column: Column<Row>): void => {
    if (order !== undefined) order.onChange(column.id);
    else setSort({ by: column.id, isReversed: sort?.by === column.id && !sort.isReversed });
  };
  return (
    <div className="table-box">
      <table className="table folds" role="table">
        <caption className="unseen">{label}</caption>
        <thead role="rowgroup">
          <tr role="row" data-sort={text('table.sort')}>
            {chosen !== undefined && (
              <th scope="col" role="columnheader" className="sorts">
                <CheckboxField
                  name={text('table.choose-all')}
                  value={rows.length > 0 && rows.every((row) => chosen.keys.has(keyOf(row)))}
                  isSome={chosen.keys.size > 0 && !rows.every((row) => chosen.keys.has(keyOf(row)))}
                  onChange={(all) => chosen.onChange(new Set(all ? rows.map(keyOf) : []))}
                />
              </th>
            )}
            {columns.map((column) => (
              <HeadCell
                key={column.id}
                column={column}
                direction={directionOf(column, order?.by ?? sort?.by, sort?.isReversed === true)}
                onPress={column.sortBy === undefined || rows.length < 2 ? undefined : () => press(column)}
              />
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {shown.map((row) => (
            <tr key={keyOf(row)} role="row">
              {chosen !== undefined && (
                <td role="cell">
                  <CheckboxField
                    name={text('table.choose', { name: chosen.nameOf(row) })}
                    value={chosen.keys.has(keyOf(row))}
                    onChange={(isChosen) => {
                      const keys = new Set(chosen.keys);
                      if (isChosen) keys.add(keyOf(row));
                      else keys.delete(keyOf(row));
                      chosen.onChange(keys);
                    }}
                  />
                </td>
              )}
              {columns.map(({ id, title, show, isRight = false, isLead = false, isTitleHidden = false }) => (
                <td
                  key={id}
                  role="cell"
                  className={`${isRight ? 'right' : ''} ${isLead ? 'lead' : ''}`}
                  {...(isLead || isTitleHidden ? {} : { 'data-label': title })}
                >
                  {show(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

type Direction = 'ascending' | 'descending';

function directionOf<Row>(column: Column<Row>, by: string | undefined, isReversed: boolean): Direction | undefined {
  if (column.id !== by) return undefined;
  const isFirstLargest = column.isRight === true;
  return isFirstLargest === isReversed ? 'ascending' : 'descending';
}

function HeadCell<Row>({
  column,
  direction,
  onPress,
}: {
  column: Column<Row>;
  direction: Direction | undefined;
  onPress: (() => void) | undefined;
}): ReactNode {
  const { title, isRight = false, isTitleHidden = false } = column;
  const name = isTitleHidden ? <span className="unseen">{title}</span> : title;
  return (
    <th
      scope="col"
      role="columnheader"
      className={`${isRight ? 'right' : ''} ${onPress === undefined ? '' : 'sorts'}`}
      {...(direction === undefined ? {} : { 'aria-sort': direction })}
    >
      {onPress === undefined ? (
        name
      ) : (
        <button type="button" className="sort" onClick={onPress}>
          {name}
          {direction !== undefined && <Icon name={direction === 'ascending' ? 'chevron-up' : 'chevron-down'} />}
        </button>
      )}
    </th>
  );
}

const collator = new Intl.Collator(locale, { numeric: true, sensitivity: 'base' });

function sorted<Row>(rows: readonly Row[], column: Column<Row> | undefined, isReversed: boolean): readonly Row[] {
  const by = column?.sortBy;
  if (by === undefined) return rows;
  const sign = isReversed ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [by(one), by(other)];
    // Largest number first, first letter first.
    return sign * (typeof a === 'number' && typeof b === 'number' ? b - a : collator.compare(String(a), String(b)));
  });
}
