// A page of Markdown.

import { Markdown } from '../chat/Markdown';
import { Link } from './Link';

interface Props {
  title: string;
  url: string | undefined;
  content: string;
}

export function Sheet({ title, url, content }: Props) {
  return (
    <>
      <p>
        <Link url={url}>{title}</Link>
      </p>
      <div className="sheet" tabIndex={0} role="region" aria-label={title}>
        <Markdown text={content} />
      </div>
    </>
  );
}
