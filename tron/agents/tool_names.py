"""The names of the tools there are, for whoever has to know them without making the tools.

A persona file may name any of these, whether or not what the tool needs is set up here; what a
tool does is in `tron/tools` and with the integrations. A plug-in's tools join when it is attached.
"""

TOOL_NAMES = frozenset(
    """
    remember recall forget
    share_knowledge query_knowledge knowledge_feed
    who_is_calling find_contact save_contact take_message
    current_time write_journal read_journal
    list_processes inspect_process
    web_search
    ask_persona delegate_task
    start_task list_tasks task_status pause_task resume_task cancel_task remind
    work_out fetch_page write_file read_file list_files run_command wait_until wait_for_reply
    send_sms place_call send_slack_message
    end_call transfer_call
    """.split()
)
"""the last two are the line's own, in a call"""
