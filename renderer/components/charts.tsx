import { type ReactNode, useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { formatHour, formatDay } from '../models/format.ts';
import type { Series } from '../models/history.ts';
import { locale } from '../strings/text.ts';

/** The course of something, without numbers; for the eye only. */
export function Sparkline({
  values,
  colour = 'var(--series-1)',
}: {
  values: readonly number[];
  colour?: string;
}): ReactNode {
  const most = Math.max(1, ...values);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, at) => `${(at * step).toFixed(2)},${(30 - (value / most) * 27).toFixed(2)}`);
  return (
    <svg className="sparkline" viewBox="0 0 100 32" preserveAspectRatio="none" aria-hidden>
      <polygon points={`0,32 ${points.join(' ')} 100,32`} fill={colour} opacity={0.14} />
      <polyline
        points={points.join(' ')}
        fill="none"
        stroke={colour}
        strokeWidth={1.75}
        vectorEffect="non-scaling-stroke"
        strokeLinejoin="round"
      />
    </svg>
  );
}

interface ChartProps {
  /** What it shows, in a sentence that stands for it. */
  readonly label: string;
  readonly series: Series;
  readonly kind: 'bars' | 'line';
  /** The name of a CSS variable. */
  readonly colour?: string;
  readonly height?: number;
  readonly format: (value: number) => string;
  readonly isWhole?: boolean;
}

/** A chart over time. Follows the width of its place and the look of the page. */
export function Chart({
  label,
  series,
  kind,
  colour = '--series-1',
  height = 190,
  format,
  isWhole = false,
}: ChartProps): ReactNode {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    let plot: uPlot | undefined;
    const draw = (): void => {
      plot?.destroy();
      const width = Math.max(120, element.clientWidth);
      plot = new uPlot(
        optionsOf({
          width,
          height,
          kind,
          format,
          isWhole,
          stroke: colourOf(element, colour),
          axis: colourOf(element, '--ink-2'),
          grid: colourOf(element, '--line'),
          surface: colourOf(element, '--surface'),
        }),
        [[...series.times], [...series.values]],
        element,
      );
    };
    draw();
    const sizes = new ResizeObserver(() => {
      if (plot !== undefined && Math.abs(plot.width - element.clientWidth) > 1)
        plot.setSize({ width: Math.max(120, element.clientWidth), height });
    });
    sizes.observe(element);
    const looks = new MutationObserver(draw);
    looks.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    return () => {
      sizes.disconnect();
      looks.disconnect();
      scheme.removeEventListener('change', draw);
      plot?.destroy();
    };
  }, [series, kind, colour, height, format, isWhole]);
  return <div className="chart" ref={place} role="img" aria-label={label} style={{ minHeight: height }} />;
}

/** The colour that a variable stands for here: the canvas does not know variables. */
function colourOf(element: HTMLElement, variable: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${variable})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

interface Look {
  readonly width: number;
  readonly height: number;
  readonly kind: 'bars' | 'line';
  readonly format: (value: number) => string;
  readonly isWhole: boolean;
  readonly stroke: string;
  readonly axis: string;
  readonly grid: string;
  readonly surface: string;
}

const DAY_S = 86_400;

function widened(times: ArrayLike<number>, least: number, most: number): [number, number] {
  const half = times.length < 2 ? 1800 : (most - least) / (times.length - 1) / 2;
  return [least - half, most + half];
}

function optionsOf({ width, height, kind, format, isWhole, stroke, axis, grid, surface }: Look): uPlot.Options {
  const font = '12px system-ui, sans-serif';
  const bars = uPlot.paths.bars?.({ size: [0.62, 28], radius: 0.3 });
  const weekday = new Intl.DateTimeFormat(locale, { weekday: 'short' });
  return {
    width,
    height,
    legend: { show: false },
    cursor: { show: false },
    padding: [10, 8, 0, 0],
    scales: {
      // Half a step at both ends, or the outermost bars would be cut in two.
      x: { range: (plot, least, most) => (kind === 'bars' ? widened(plot.data[0], least, most) : [least, most]) },
      y: { range: (_plot, _least, most) => [0, most <= 0 ? 1 : most * 1.1] },
    },
    axes: [
      {
        stroke: axis,
        font,
        space: 62,
        size: 30,
        grid: { show: false },
        ticks: { show: false },
        values: (_plot, splits) => {
          const span = (splits.at(-1) ?? 0) - (splits[0] ?? 0);
          return splits.map((at) =>
            span > 8 * DAY_S
              ? formatDay(at * 1000)
              : span > 1.5 * DAY_S
                ? weekday.format(at * 1000)
                : formatHour(at * 1000),
          );
        },
      },
      {
        stroke: axis,
        font,
        size: 64,
        space: 44,
        grid: { stroke: grid, width: 1 },
        ticks: { show: false },
        ...(isWhole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000] } : {}),
        values: (_plot, splits) => splits.map(format),
      },
    ],
    series: [
      {},
      {
        stroke,
        width: kind === 'bars' ? 0 : 2,
        fill: kind === 'bars' ? stroke : `color-mix(in srgb, ${stroke} 14%, ${surface})`,
        points: { show: false },
        ...(kind === 'bars' && bars !== undefined ? { paths: bars } : {}),
      },
    ],
  };
}
