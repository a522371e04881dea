// How far the user is in the day and in the week.

import { tokens, until } from '../page/numbers';
import type { UsageStatus, UsageWindow } from './usage';

interface Props {
  usage: UsageStatus;
  onReset: () => void;
}

/** From here on the way to a reset is shown. */
const NEARLY = 0.8;

const shareOf = ({ used, limit }: UsageWindow) => (limit > 0 ? Math.min(1, used / limit) : 0);

function Bar({ name, window }: { name: string; window: UsageWindow }) {
  const { used, limit, resets_at } = window;
  const share = shareOf(window);
  return (
    <div className="usage-bar">
      <div className="row">
        <span>{name}</span>
        <span className="gap" />
        <span className="faint">
          {limit > 0 ? `${tokens(used)} of ${tokens(limit)}` : `${tokens(used)}, no limit`}
        </span>
      </div>
      <meter
        min={0}
        max={1}
        value={share}
        low={NEARLY}
        high={0.999}
        optimum={0}
        aria-label={`${name}: ${Math.round(share * 100)} % used`}
        title={`begins anew in ${until(resets_at)}`}
      />
    </div>
  );
}

export function UsageBars({ usage, onReset }: Props) {
  const { daily, weekly, reset_cost } = usage;
  return (
    <section className="usage" aria-label="Usage">
      <Bar name="Today" window={daily} />
      <Bar name="This week" window={weekly} />
      {reset_cost > 0 && shareOf(daily) >= NEARLY && (
        <button type="button" className="small" onClick={onReset}>
          Reset today’s usage…
        </button>
      )}
    </section>
  );
}
